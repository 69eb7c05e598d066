"""One training of a study: what it depends on, the training itself, and its scores.

A run is known by everything that decides its scores, so that a finished one is read again and a
changed one is made anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.case import IMAGE, LABEL
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.data import (
    LabelledVolumes,
    read_case_volumes,
    read_cohort_volumes,
)
from vcmaug.downstream.fit import fit
from vcmaug.downstream.results import RunResult, read_result
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.tasks.base import Figures
from vcmaug.downstream.training_data import TrainingData
from vcmaug.files import write_json
from vcmaug.progress import Report
from vcmaug.provenance import fingerprint

__all__ = ["Run", "StudyInputs", "file_of", "labelled_of_run", "run_or_read"]


@dataclass(frozen=True)
class StudyInputs:
    """What a study works on; for workers all of it can be sent by value.

    Attributes:
        cases: Prepared cases.
        splits: Who may be seen.
        scheme: Of the label maps.
        arms: What each arm trains on, by its name, in the order of tables.
        keep: Writes the network of an arm whose networks are kept.
    """

    cases: tuple[Case, ...]
    splits: Splits
    scheme: LabelScheme
    arms: Mapping[str, TrainingData]
    keep: Callable[[nn.Module, Path], None] | None = None

    def scored(self, settings: StudySettings) -> tuple[str, ...]:
        """Return the subjects on which the arms are scored."""
        return self.splits.test if settings.scored_on == "test" else self.splits.validation


@dataclass(frozen=True)
class Run:
    """One training of the grid; of a ceiling, n is the number of training subjects."""

    arm: str
    num_labelled: int
    seed: int

    def cohort(self, inputs: StudyInputs) -> Cohort | None:
        """Return the cohort that it trains on; None: it has real cases alone."""
        folder = inputs.arms[self.arm].cohort_of(self.num_labelled, self.seed)
        return None if folder is None else Cohort.open(folder)


def labelled_of_run(run: Run, inputs: StudyInputs) -> tuple[str, ...]:
    """Return the labelled subjects of a run; the same for every arm."""
    return labelled_subset(inputs.splits, num_labelled=run.num_labelled, seed=run.seed)


def run_or_read(
    run: Run, settings: StudySettings, inputs: StudyInputs, *, out: Path, report: Report
) -> RunResult:
    """Return the result of a run, from its file if nothing it depends on has changed."""
    path = file_of(run, out)
    identity = _identity(run, settings, inputs)
    keep = inputs.keep if inputs.arms[run.arm].keeps_network else None
    weights = path.with_suffix(".safetensors")
    before = read_result(path) if keep is None or weights.exists() else None
    if before is not None and before.identity == identity:
        return before
    result, network = _train_and_score(run, settings, inputs, identity=identity, report=report)
    if keep is not None:
        keep(network, weights)
    write_json(path, asdict(result))
    return result


def file_of(run: Run, out: Path) -> Path:
    """Return the file of a run's result."""
    return run_file(out, run.arm, num_labelled=run.num_labelled, seed=run.seed)


def _identity(run: Run, settings: StudySettings, inputs: StudyInputs) -> str:
    """Return the fingerprint of all that a run depends on."""
    of_all_arms = {"task", "segmenter", "augment", "fit", "lesions"}
    shared = settings.model_dump(mode="json", include=of_all_arms)
    subjects = [*labelled_of_run(run, inputs), *inputs.scored(settings)]
    cases = [
        [case.case_id, case.subject_id, case.hash_of(IMAGE), case.hash_of(LABEL)]
        for case in cases_of(inputs.cases, subjects)
        if case.label is not None
    ]
    cohort = run.cohort(inputs)
    made = [[case.case_id, case.hash_of(IMAGE), case.hash_of(LABEL)] for case in cohort or ()]
    return fingerprint([asdict(run), shared, cases, inputs.scheme.to_json(), made])


def _train_and_score(
    run: Run, settings: StudySettings, inputs: StudyInputs, *, identity: str, report: Report
) -> tuple[RunResult, nn.Module]:
    """Return scores and cost of one training, and the network."""
    real = read_case_volumes(cases_of(inputs.cases, labelled_of_run(run, inputs)), inputs.scheme)
    cohort = run.cohort(inputs)
    synthetic = None
    if cohort is not None:
        synthetic = read_cohort_volumes(cohort, inputs.scheme, like=real)
    network, record = fit(
        real,
        synthetic,
        task=settings.task,
        ground=settings.ground(inputs.scheme),
        augment=settings.augment,
        settings=settings.fit,
        seed=run.seed,
        what=f"{run.arm}, n = {run.num_labelled}, seed {run.seed}",
        report=report,
    )
    result = RunResult(
        arm=run.arm,
        num_labelled=run.num_labelled,
        seed=run.seed,
        num_real=len(real.names),
        num_synthetic=0 if synthetic is None else len(synthetic.names),
        cost=record,
        scores=tuple(_scores(run, settings, inputs, network)),
        identity=identity,
    )
    return result, network


def _scores(
    run: Run, settings: StudySettings, inputs: StudyInputs, network: nn.Module
) -> list[dict[str, object]]:
    """Return one row for everything that the task scores in each test case."""
    cases = cases_of(inputs.cases, inputs.scored(settings))
    volumes = read_case_volumes(cases, inputs.scheme)
    shown, targets = settings.task.examples(volumes.images, volumes.labels)
    predictions = settings.task.predict(network, shown)
    return [
        {**asdict(run), "case_id": case.case_id, "subject_id": case.subject_id, **row}
        for case, prediction, target in zip(cases, predictions, targets.numpy(), strict=True)
        for row in _rows(prediction, target, volumes, settings, inputs)
    ]


def _rows(
    prediction: NDArray[np.generic],
    target: NDArray[np.generic],
    volumes: LabelledVolumes,
    settings: StudySettings,
    inputs: StudyInputs,
) -> Sequence[Figures]:
    """Return the task's scores of one case."""
    return settings.task.score(
        prediction,
        target,
        ground=settings.ground(inputs.scheme),
        spacing_mm=volumes.spacing_mm,
    )
