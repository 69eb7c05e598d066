"""The study: every arm at every n and seed, scored on the test subjects, with intervals.

What it is: a resumable grid of trainings, its score table, and its summary.
In the flow: prepared cases and cohorts in, `scores.parquet` and `summary.json` out.
Sources: none.

Notes:
    All arms have the same initial weights, augmentation and number of updates, and at one n and
    seed the same real cases. Test subjects are read at the very end of each training, and nothing
    is chosen on them: choices are made with `scored_on: validation`.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.compute import Compute, run_all
from vcmaug.config import Settings
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.downstream.arms import (
    ARMS,
    CEILING,
    ArmName,
    labelled_cases,
    refuse_leaks,
    refuse_real_leaks,
    uses_cohort,
    uses_pool,
)
from vcmaug.downstream.augment import AugmentSettings
from vcmaug.downstream.data import (
    LabelledVolumes,
    cohort_files,
    read_case_volumes,
    read_cohort_volumes,
)
from vcmaug.downstream.fit import FitSettings, fit, predict
from vcmaug.downstream.lesion_wise import lesion_wise
from vcmaug.downstream.scoring import EMPTY_RULE, score_map
from vcmaug.downstream.segmenter import Segmenter, SegmenterSettings
from vcmaug.downstream.summary import compared
from vcmaug.errors import DataError
from vcmaug.files import read_json, sha256_of_file, write_bytes, write_json, write_text
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import fingerprint, machine, versions

__all__ = ["StudyInputs", "StudySettings", "run_arm", "run_arms", "run_study"]

CohortOf = Callable[[ArmName, int, int], Path]
"""(arm, num_labelled, seed) -> folder of the cohort that the arm trains on."""


_FEWEST_TEST_SUBJECTS = 2
_MANY_SEEDS = 5


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
class _Run:
    """One training of the grid; for `all-real`, n is the number of training subjects."""

    arm: ArmName
    num_labelled: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.arm.replace('+', '-')}-n{self.num_labelled}-s{self.seed}"


@dataclass(frozen=True)
class _Task:
    """One training for a worker, by value."""

    run: _Run
    settings: StudySettings
    inputs: StudyInputs
    out: Path

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"arm {self.run.arm}, n = {self.run.num_labelled}, seed {self.run.seed}"


def run_study(
    settings: StudySettings,
    inputs: StudyInputs,
    *,
    out: Path,
    compute: Compute | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Run what is missing of a study and return its summary.

    Args:
        settings: The grid.
        inputs: Cases, splits, scheme, and where the cohorts are; for workers its functions are
            importable by name.
        out: Gets runs/<arm>-n<k>-s<seed>.json, scores.parquet, scores.csv and summary.json.
        compute: Where the trainings run; None is this process, one after the other.
        report: Told after every update, or with workers after every training.

    Raises:
        LeakError: A cohort has seen what it may not; nothing is trained then.
        DataError: Cases cannot be trained on or scored; nothing is trained then.
    """
    runs = _grid(settings, inputs)
    _check(runs, settings, inputs)
    done = _run_all(runs, settings, inputs, out=out, compute=compute, report=report)
    scores = pd.DataFrame([row for result in done for row in result["scores"]])
    write_bytes(out / "scores.parquet", scores.to_parquet(index=False))
    write_text(out / "scores.csv", scores.to_csv(index=False))
    summary = _summary(scores, done, settings, inputs)
    write_json(out / "summary.json", summary)
    return summary


def _run_all(
    runs: Sequence[_Run],
    settings: StudySettings,
    inputs: StudyInputs,
    *,
    out: Path,
    compute: Compute | None,
    report: Report,
) -> list[dict[str, Any]]:
    """Return the results of trainings; where there are workers, they leave them in files."""
    if compute is not None and compute.kind != "in-process":
        tasks = [_Task(run, settings, inputs, out.resolve()) for run in runs]
        ended = itertools.count(1)
        run_all(
            _do,
            tasks,
            compute=compute,
            threads=settings.fit.threads or max(1, (os.cpu_count() or 1) // max(1, compute.num)),
            on_done=lambda task, _: report(
                Progress("trainings", next(ended), len(tasks), str(task))
            ),
        )
    return [_run_or_read(run, settings, inputs, out=out, report=report) for run in runs]


def _do(task: _Task) -> None:
    """Run one training on a worker."""
    _run_or_read(task.run, task.settings, task.inputs, out=task.out, report=silent)


def run_arms(
    arm: ArmName,
    *,
    settings: StudySettings,
    inputs: StudyInputs,
    out: Path,
    compute: Compute | None = None,
    report: Report = silent,
) -> None:
    """Run what is missing of one arm at every n and seed; see `run_study`."""
    runs = _grid(settings.model_copy(update={"arms": (arm,)}), inputs)
    _check(runs, settings, inputs)
    _run_all(runs, settings, inputs, out=out, compute=compute, report=report)


def run_arm(
    arm: ArmName,
    *,
    num_labelled: int,
    seed: int,
    settings: StudySettings,
    inputs: StudyInputs,
    out: Path,
    report: Report = silent,
) -> Path:
    """Run one arm unless it is done, and return the file of its result; see `run_study`.

    The network of `real` lies beside it, as `.safetensors`, where `inputs.keep` writes it.
    """
    run = _Run(arm, num_labelled, seed)
    _check([run], settings, inputs)
    _run_or_read(run, settings, inputs, out=out, report=report)
    return _file_of(run, out)


def _grid(settings: StudySettings, inputs: StudyInputs) -> list[_Run]:
    """Return all trainings; `all-real` has one per seed, whatever n."""
    runs = [
        _Run(arm, num_labelled, seed)
        for num_labelled in settings.num_labelled
        for seed in settings.seeds
        for arm in settings.arms
        if arm != CEILING
    ]
    num_all = len(inputs.splits.train)
    return runs + [
        _Run(CEILING, num_all, seed) for seed in settings.seeds if CEILING in settings.arms
    ]


def _check(runs: Sequence[_Run], settings: StudySettings, inputs: StudyInputs) -> None:
    """Refuse, before anything is trained, what would leak or could not be scored.

    Raises:
        LeakError: A held-out subject is in reach of a training.
        DataError: Fewer than two subjects are scored, or a case has no label map.
    """
    splits, scored = inputs.splits, inputs.scored(settings)
    if len(set(scored)) < _FEWEST_TEST_SUBJECTS:
        raise DataError(
            f"running a study: the {settings.scored_on} has {len(scored)} subjects, an interval "
            f"needs {_FEWEST_TEST_SUBJECTS} or more. Raise splits.num_{settings.scored_on}."
        )
    labelled_cases(inputs.cases, scored, role=settings.scored_on)
    for run in runs:
        subjects = _labelled(run, inputs)
        refuse_real_leaks(subjects, splits)
        labelled_cases(inputs.cases, subjects, role="labelled")
        if uses_cohort(run.arm):
            refuse_leaks(
                inputs.cohort_of(run.arm, run.num_labelled, run.seed),
                labelled_subjects=subjects,
                splits=splits,
                cases=inputs.cases,
                scheme=inputs.scheme,
                pool=uses_pool(run.arm),
            )


def _labelled(run: _Run, inputs: StudyInputs) -> tuple[str, ...]:
    """Return the labelled subjects of a run; the same for every arm."""
    return labelled_subset(inputs.splits, num_labelled=run.num_labelled, seed=run.seed)


def _run_or_read(
    run: _Run, settings: StudySettings, inputs: StudyInputs, *, out: Path, report: Report
) -> dict[str, Any]:
    """Return the result of a run, from its file if nothing it depends on has changed."""
    path = _file_of(run, out)
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


def _file_of(run: _Run, out: Path) -> Path:
    """Return the file of a run's result."""
    return out / "runs" / f"{run.name}.json"


def _identity(run: _Run, settings: StudySettings, inputs: StudyInputs) -> str:
    """Return the fingerprint of all that a run depends on."""
    shared = settings.model_dump(mode="json", include={"segmenter", "augment", "fit"})
    subjects = [*_labelled(run, inputs), *inputs.scored(settings)]
    cases = [
        [case.case_id, case.subject_id, sha256_of_file(case.image), sha256_of_file(case.label)]
        for case in cases_of(inputs.cases, subjects)
        if case.label is not None
    ]
    cohort = []
    if uses_cohort(run.arm):
        files = cohort_files(inputs.cohort_of(run.arm, run.num_labelled, run.seed))
        cohort = [[n, sha256_of_file(image), sha256_of_file(label)] for n, image, label in files]
    return fingerprint([asdict(run), shared, cases, inputs.scheme.to_json(), cohort])


def _train_and_score(
    run: _Run, settings: StudySettings, inputs: StudyInputs, *, report: Report
) -> tuple[dict[str, Any], Segmenter]:
    """Return scores and cost of one training, and the network."""
    real = read_case_volumes(cases_of(inputs.cases, _labelled(run, inputs)), inputs.scheme)
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
    run: _Run,
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


def _summary(
    scores: pd.DataFrame,
    runs: Sequence[dict[str, Any]],
    settings: StudySettings,
    inputs: StudyInputs,
) -> dict[str, Any]:
    """Return means and paired differences with intervals, and what the study cost."""
    seconds = sum(run["cost"]["seconds"] for run in runs)
    spent = sum(run["cost"]["augmentation_seconds"] for run in runs)
    return {
        "kind": "study",
        **compared(scores, num_labelled=settings.num_labelled, num_draws=settings.bootstrap_draws),
        "structures": list(inputs.scheme.names),
        "scored_on": settings.scored_on,
        "num_test_subjects": len(inputs.scored(settings)),
        "updates": settings.fit.updates,
        "num_labelled": list(settings.num_labelled),
        "seeds": list(settings.seeds),
        "runs": [
            {key: run[key] for key in ("arm", "num_labelled", "seed", "num_real", "num_synthetic")}
            | {"updates_per_second": run["cost"]["updates"] / run["cost"]["seconds"]}
            for run in runs
        ],
        "seconds": seconds,
        "augmentation_share": spent / seconds if seconds else 0.0,
        "empty_rule": EMPTY_RULE,
        "seeds_resampled": len(settings.seeds) > 1,
        "interval": "95 % percentile bootstrap over subjects"
        + (" and seeds" if len(settings.seeds) > 1 else "; one seed, so none over seeds")
        + ("; few seeds, so rather too narrow" if len(settings.seeds) < _MANY_SEEDS else ""),
        "versions": versions(),
        "machine": machine(),
    }
