"""What the benchmarks of sampling share: one cohort per way of drawing, and what it is worth."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmaug.cohort.manifest import read_manifest
from vcmaug.compute import Compute
from vcmaug.data.cases import cases_of
from vcmaug.data.nifti import read_image
from vcmaug.downstream.evaluator import Evaluator
from vcmaug.files import read_json, write_json
from vcmaug.generate.plan import GenerateSettings
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.work import Replicate, Work, find_work
from vcmaug.progress import silent
from vcmaug.provenance import fingerprint
from vcmaug.quality.features import describe, standardised
from vcmaug.quality.measured import volumes_of_cohort
from vcmaug.quality.metrics.frechet_distance import frechet_distance

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """A finished replicate, its independent evaluator, and descriptors of real images."""

    work: Work
    replicate: Replicate
    evaluator: Evaluator
    real: Rows

    @property
    def settings(self) -> GenerateSettings:
        """The recipe's way of drawing."""
        return self.work.recipe.generate.of_plan


def ground_of(folder: Path, replicate: str) -> Ground:
    """Return a replicate, such as n10-s0, of a work folder in which its cohort was evaluated."""
    work = find_work(folder)
    graph, chosen = Graph(work), work.replicate_named(replicate)
    evaluator, splits = graph.evaluator.load(), graph.splits.load()
    if evaluator is None or chosen is None:
        raise SystemExit(f"{folder}: there is no {replicate}, or too few subjects to evaluate it.")
    cases = cases_of(graph.cases.load(), (*splits.train, *splits.validation))
    images = [read_image(case.image, case_id=case.case_id).array for case in cases]
    return Ground(work, chosen, evaluator, describe(np.stack(images)))


def cohort_of(
    ground: Ground, out: Path, settings: GenerateSettings, *, n: int
) -> tuple[Path, float]:
    """Return a cohort drawn in a way, in this process, and its seconds per volume.

    What is there is kept; the same requests have the same noise and conditions in every way.
    """
    acceptance = settings.acceptance.model_copy(update={"accept": ""})
    plan = make_plan(
        settings.model_copy(update={"acceptance": acceptance}),
        prior_folder=ground.work.prior,
        control_folder=ground.replicate.control,
        conditions_folder=ground.replicate.conditions,
        n=n,
        seed=ground.replicate.seed,
    )
    sampler = settings.sampler
    places = {"prior_folder", "control_folder", "conditions_folder"}
    identity = fingerprint(plan.model_dump(mode="json", exclude=places), length=8)
    folder = out / f"{sampler.name}-{sampler.steps}-{settings.precision}-{n}-{identity}"
    note = folder / "seconds.json"
    if not note.exists():
        began = time.perf_counter()
        generate(plan, out=folder, compute=Compute("in-process"))
        write_json(note, (time.perf_counter() - began) / n)
    return folder, read_json(note)


def judged(ground: Ground, cohort: Path) -> tuple[Rows, Rows]:
    """Return the adherence [N] and the descriptors [N, D] of a cohort's images, failed ones NaN."""
    volumes = volumes_of_cohort(cohort, report=silent)
    table = volumes.adherence(ground.evaluator, source="synthetic")
    read = table.groupby("case_id")["dice"].mean()
    described = dict(zip(volumes.names, describe(volumes.images), strict=True))
    missing = np.full(ground.real.shape[1], np.nan)
    ids = read_manifest(cohort)["case_id"].tolist()
    dice = read.reindex(ids).to_numpy()
    return dice, np.stack([described.get(name, missing) for name in ids])


def distance(ground: Ground, descriptors: Rows) -> float:
    """Return the Frechet distance to real images, in units of their deviations."""
    real, drawn = standardised(ground.real, descriptors[np.isfinite(descriptors).all(axis=1)])
    return frechet_distance(real, drawn)


def interval(draws: Any) -> list[float]:
    """Return the 95 % percentile interval of bootstrap draws."""
    return [float(edge) for edge in np.percentile(draws, [2.5, 97.5])]
