"""One training of a study: what it depends on, the training itself, and its scores.

What it is: one cell of the grid, run once and read ever after.
In the flow: between the study's grid and `fit`.
Sources: none.

Notes:
    A run is known by everything that decides its scores, so that a finished one is read again and
    a changed one is made anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.config import Settings
from vcmaug.data.case import IMAGE, LABEL
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.downstream.arms import ARMS, ArmName, uses_cohort
from vcmaug.downstream.augment import AugmentSettings
from vcmaug.downstream.data import (
    LabelledVolumes,
    cohort_files,
    read_case_volumes,
    read_cohort_volumes,
)
from vcmaug.downstream.fit import FitSettings, fit, predict
from vcmaug.downstream.lesion_wise import lesion_wise
from vcmaug.downstream.scoring import score_map
from vcmaug.downstream.segmenter import Segmenter, SegmenterSettings
from vcmaug.files import read_json, sha256_of_file, write_json
from vcmaug.progress import Report
from vcmaug.provenance import fingerprint

__all__ = [
    "CohortOf",
    "Run",
    "StudyInputs",
    "StudySettings",
    "file_of",
    "labelled_of_run",
    "run_or_read",
]

CohortOf = Callable[[ArmName, int, int], Path]
"""(arm, num_labelled, seed) -> folder of the cohort that the arm trains on."""


class StudySettings(Settings):
    """The grid of a study."""

    num_labelled: tuple[int, ...] = Field((10,), min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    arms: tuple[ArmName, ...] = ARMS
    segmenter: SegmenterSettings = SegmenterSettings()
    augment: AugmentSettings = AugmentSettings()
    fit: FitSettings = FitSettings()
    scored_on: Literal["test", "validation"] = Field(
        "test", description="validation: for choices, so that the test stays closed"
    )
    lesions: tuple[str, ...] = Field((), description="structures that are scored lesion by lesion")
    bootstrap_draws: int = Field(2000, ge=100)


@dataclass(frozen=True)
class StudyInputs:
    """What a study works on."""

    cases: tuple[Case, ...]
    splits: Splits
    scheme: LabelScheme
    cohort_of: CohortOf
    keep: Callable[[Segmenter, Path], None] | None = None  # writes the networks of `real`

    def scored(self, settings: StudySettings) -> tuple[str, ...]:
        """Return the subjects on which the arms are scored."""
        return self.splits.test if settings.scored_on == "test" else self.splits.validation


@dataclass(frozen=True)
class Run:
    """One training of the grid; for `all-real`, n is the number of training subjects."""

    arm: ArmName
    num_labelled: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.arm.replace('+', '-')}-n{self.num_labelled}-s{self.seed}"


def labelled_of_run(run: Run, inputs: StudyInputs) -> tuple[str, ...]:
    """Return the labelled subjects of a run; the same for every arm."""
    return labelled_subset(inputs.splits, num_labelled=run.num_labelled, seed=run.seed)


def run_or_read(
    run: Run, settings: StudySettings, inputs: StudyInputs, *, out: Path, report: Report
) -> dict[str, Any]:
    """Return the result of a run, from its file if nothing it depends on has changed."""
    path = file_of(run, out)
    identity = _identity(run, settings, inputs)
    keep = inputs.keep if run.arm == "real" else None
    weights = path.with_suffix(".safetensors")
    if path.exists() and (keep is None or weights.exists()):
        before: dict[str, Any] = read_json(path)
        if before["identity"] == identity:
            return before
    result, network = _train_and_score(run, settings, inputs, report=report)
    result["identity"] = identity
    if keep is not None:
        keep(network, weights)
    write_json(path, result)
    return result


def file_of(run: Run, out: Path) -> Path:
    """Return the file of a run's result."""
    return out / "runs" / f"{run.name}.json"


def _identity(run: Run, settings: StudySettings, inputs: StudyInputs) -> str:
    """Return the fingerprint of all that a run depends on."""
    shared = settings.model_dump(mode="json", include={"segmenter", "augment", "fit"})
    subjects = [*labelled_of_run(run, inputs), *inputs.scored(settings)]
    cases = [
        [case.case_id, case.subject_id, case.hash_of(IMAGE), case.hash_of(LABEL)]
        for case in cases_of(inputs.cases, subjects)
        if case.label is not None
    ]
    cohort = []
    if uses_cohort(run.arm):
        files = cohort_files(inputs.cohort_of(run.arm, run.num_labelled, run.seed))
        cohort = [[n, sha256_of_file(image), sha256_of_file(label)] for n, image, label in files]
    return fingerprint([asdict(run), shared, cases, inputs.scheme.to_json(), cohort])


def _train_and_score(
    run: Run, settings: StudySettings, inputs: StudyInputs, *, report: Report
) -> tuple[dict[str, Any], Segmenter]:
    """Return scores and cost of one training, and the network."""
    real = read_case_volumes(cases_of(inputs.cases, labelled_of_run(run, inputs)), inputs.scheme)
    synthetic = None
    if uses_cohort(run.arm):
        folder = inputs.cohort_of(run.arm, run.num_labelled, run.seed)
        synthetic = read_cohort_volumes(folder, inputs.scheme, like=real)
    network, record = fit(
        real,
        synthetic,
        num_structures=inputs.scheme.num_structures,
        segmenter=settings.segmenter,
        augment=settings.augment,
        settings=settings.fit,
        seed=run.seed,
        what=f"{run.arm}, n = {run.num_labelled}, seed {run.seed}",
        report=report,
    )
    scored_cases = cases_of(inputs.cases, inputs.scored(settings))
    scored = read_case_volumes(scored_cases, inputs.scheme)
    predictions = predict(network, scored.images)
    result = {
        **asdict(run),
        "num_real": len(real.names),
        "num_synthetic": 0 if synthetic is None else len(synthetic.names),
        "cost": asdict(record),
        "scores": _scores(
            run, scored_cases, scored, predictions, inputs.scheme, lesions=settings.lesions
        ),
    }
    return result, network


def _scores(
    run: Run,
    cases: Sequence[Case],
    volumes: LabelledVolumes,
    predictions: NDArray[np.uint8],
    scheme: LabelScheme,
    *,
    lesions: Sequence[str],
) -> list[dict[str, Any]]:
    """Return one row per test case and structure."""
    rows = []
    for case, labels, prediction in zip(cases, volumes.labels, predictions, strict=True):
        scores = score_map(prediction, labels.numpy(), scheme=scheme, spacing_mm=volumes.spacing_mm)
        about = {**asdict(run), "case_id": case.case_id, "subject_id": case.subject_id}
        for channel, score in enumerate(scores, start=1):
            row = about | asdict(score)
            if score.structure in lesions:
                row |= lesion_wise(prediction == channel, labels.numpy() == channel)
            rows.append(row)
    return rows
