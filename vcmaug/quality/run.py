"""`evaluate`: a cohort's metrics, each beside what real images score.

The evaluator is an independent network, trained on real subjects that the control has not seen. It
also reads held-out real images: what it misses there is its own fault, not the cohort's.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.case import Case, files_of
from vcmaug.data.nifti import read_image
from vcmaug.errors import CohortError
from vcmaug.files import locked, write_bytes, write_text
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Report, silent
from vcmaug.provenance import versions
from vcmaug.quality.measured import Measured, Reads, volumes_of_cases, volumes_of_cohort
from vcmaug.quality.metrics.adherence import Adherence
from vcmaug.quality.metrics.base import Metric, Row
from vcmaug.quality.metrics.frechet_distance import FrechetDistance
from vcmaug.quality.metrics.memorisation import Memorisation
from vcmaug.quality.metrics.mmd import MMD
from vcmaug.quality.results import EvaluatorCard, Quality

__all__ = ["METRICS", "evaluate_cohort"]

METRICS: tuple[Metric, ...] = (Adherence(), FrechetDistance(), MMD(), Memorisation())
"""Measured where a recipe names no others."""


def evaluate_cohort(
    cohort: Path,
    *,
    real: Sequence[Case],
    evaluator: Reads | None,
    about_evaluator: EvaluatorCard,
    out: Path,
    trained_on: Sequence[Case] = (),
    metrics: Sequence[Metric] = METRICS,
    report: Report = silent,
) -> Quality:
    """Write adherence.parquet, adherence.csv and quality.json, and return the last.

    Args:
        cohort: A finished cohort.
        real: Held-out real cases: no test subject, none that the evaluator was trained on.
        evaluator: Independent of the cohort; None: what needs one is said to be missing.
        about_evaluator: What it was trained on.
        out: Folder of the results.
        trained_on: Real cases whose images prior and control have seen; without them memorisation
            is said to be missing.
        metrics: What is measured.
        report: Told as cases are read.

    Raises:
        CohortError: The cohort has fewer than two finished cases, or another grid than the real
            cases, so that distances would mean nothing.
        WorkFolderError: `out` is in use, or it is, holds or lies in what is read.
    """
    doing = f"evaluating {cohort}"
    refuse_overlap(doing, writes=[out], reads=[cohort, *files_of([*real, *trained_on])])
    with locked(out, purpose=doing):
        ground = Measured(
            drawn=volumes_of_cohort(cohort, report=report),
            held_out=volumes_of_cases(real, report=report),
            train_images=_images(trained_on),
            evaluator=evaluator,
        )
        _refuse_other_grids(cohort, ground)
        table = ground.adherence
        write_bytes(out / "adherence.parquet", table.to_parquet(index=False))
        write_text(out / "adherence.csv", table.to_csv(index=False))
        quality = Quality(
            num_synthetic=len(ground.drawn),
            num_real=len(ground.held_out),
            evaluator=about_evaluator,
            metrics={metric.figure: metric.about() for metric in metrics},
            missing=_missing(metrics, ground),
            versions=versions(),
            **_sections(metrics, ground),
        )
        quality.write(out / "quality.json")
        return quality


def _images(cases: Sequence[Case]) -> NDArray[np.float32]:
    """Return the images of cases, [N, X, Y, Z]; [0] where there are none."""
    images = [read_image(case.image, case_id=case.case_id).array for case in cases]
    return np.stack(images) if images else np.zeros(0, dtype=np.float32)


def _refuse_other_grids(cohort: Path, ground: Measured) -> None:
    """Refuse real images of another shape than the cohort's."""
    shape = ground.drawn.images.shape[1:]
    for others in (ground.held_out.images, ground.train_images):
        if len(others) and others.shape[1:] != shape:
            raise CohortError(
                f"evaluating {cohort}: its images have shape {shape}, the real ones "
                f"{others.shape[1:]}. Prepare the real cases on the prior's grid."
            )


def _sections(metrics: Iterable[Metric], ground: Measured) -> dict[str, tuple[Row, ...]]:
    """Return the rows of each section; metrics of one section add columns to the same rows."""
    sections: dict[str, dict[str | int | float, Row]] = {}
    for metric in metrics:
        joined = sections.setdefault(metric.section, {})
        rows = [] if metric.missing(ground) else metric.rows(ground)
        for place, row in enumerate(rows):
            name = row.get("row", place)
            joined[name] = {**joined.get(name, {}), **row}
    return {section: tuple(rows.values()) for section, rows in sections.items()}


def _missing(metrics: Iterable[Metric], ground: Measured) -> tuple[str, ...]:
    """Return what could not be measured, and why, once for each section."""
    said = {m.section: "; ".join(m.missing(ground)) for m in metrics if m.missing(ground)}
    return tuple(f"{section}: {why}" for section, why in said.items())
