"""The study: every arm at every n and seed, scored on the test subjects, with intervals.

What it is: a resumable grid of trainings, its score table, and its summary.
In the flow: prepared cases and cohorts in, `scores.parquet` and `summary.json` out.
Sources: none.

Notes:
    Both arms have the same real cases, initial weights, augmentation and number of updates. Test
    subjects are read at the very end of each training, and nothing is chosen on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.config import Settings
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.downstream.arms import (
    ARMS,
    ArmName,
    labelled_cases,
    refuse_leaks,
    refuse_real_leaks,
    uses_cohort,
)
from vcmaug.downstream.augment import AugmentSettings
from vcmaug.downstream.data import (
    LabelledVolumes,
    cohort_files,
    read_case_volumes,
    read_cohort_volumes,
)
from vcmaug.downstream.fit import FitSettings, fit, predict
from vcmaug.downstream.scoring import EMPTY_RULE, score_map
from vcmaug.downstream.segmenter import SegmenterSettings
from vcmaug.downstream.statistics import bootstrap_mean, paired_bootstrap
from vcmaug.errors import DataError
from vcmaug.files import read_json, sha256_of_file, write_bytes, write_json, write_text
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint, machine, versions
from vcmaug.seeding import numpy_generator

__all__ = ["StudyInputs", "StudySettings", "run_study"]

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
    bootstrap_draws: int = Field(2000, ge=100)


@dataclass(frozen=True)
class StudyInputs:
    """What a study works on."""

    cases: tuple[Case, ...]
    splits: Splits
    scheme: LabelScheme
    cohort_of: CohortOf


@dataclass(frozen=True)
class _Run:
    """One training of the grid."""

    arm: ArmName
    num_labelled: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.arm.replace('+', '-')}-n{self.num_labelled}-s{self.seed}"


def run_study(
    settings: StudySettings, inputs: StudyInputs, *, out: Path, report: Report = silent
) -> dict[str, Any]:
    """Run what is missing of a study and return its summary.

    Args:
        settings: The grid.
        inputs: Cases, splits, scheme, and where the cohorts are.
        out: Gets runs/<arm>-n<k>-s<seed>.json, scores.parquet, scores.csv and summary.json.
        report: Told after every update.

    Raises:
        LeakError: A cohort has seen what it may not; nothing is trained then.
        DataError: Cases cannot be trained on or scored; nothing is trained then.
    """
    runs = [
        _Run(arm, num_labelled, seed)
        for num_labelled in settings.num_labelled
        for seed in settings.seeds
        for arm in settings.arms
    ]
    _check(runs, inputs)
    done = [_run_or_read(run, settings, inputs, out=out, report=report) for run in runs]
    scores = pd.DataFrame([row for result in done for row in result["scores"]])
    write_bytes(out / "scores.parquet", scores.to_parquet(index=False))
    write_text(out / "scores.csv", scores.to_csv(index=False))
    summary = _summary(scores, done, settings, inputs)
    write_json(out / "summary.json", summary)
    return summary


def _check(runs: Sequence[_Run], inputs: StudyInputs) -> None:
    """Refuse, before anything is trained, what would leak or could not be scored.

    Raises:
        LeakError: A held-out subject is in reach of a training.
        DataError: The test has one subject only, or a case has no label map.
    """
    splits = inputs.splits
    if len(set(splits.test)) < _FEWEST_TEST_SUBJECTS:
        raise DataError(
            f"running a study: the test has {len(splits.test)} subjects, an interval needs "
            f"{_FEWEST_TEST_SUBJECTS} or more. Raise splits.num_test."
        )
    labelled_cases(inputs.cases, splits.test, role="test")
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
            )


def _labelled(run: _Run, inputs: StudyInputs) -> tuple[str, ...]:
    """Return the labelled subjects of a run; the same for every arm."""
    return labelled_subset(inputs.splits, num_labelled=run.num_labelled, seed=run.seed)


def _run_or_read(
    run: _Run, settings: StudySettings, inputs: StudyInputs, *, out: Path, report: Report
) -> dict[str, Any]:
    """Return the result of a run, from its file if nothing it depends on has changed."""
    path = out / "runs" / f"{run.name}.json"
    identity = _identity(run, settings, inputs)
    if path.exists():
        before: dict[str, Any] = read_json(path)
        if before["identity"] == identity:
            return before
    result = _train_and_score(run, settings, inputs, report=report) | {"identity": identity}
    write_json(path, result)
    return result


def _identity(run: _Run, settings: StudySettings, inputs: StudyInputs) -> str:
    """Return the fingerprint of all that a run depends on."""
    shared = settings.model_dump(mode="json", include={"segmenter", "augment", "fit"})
    subjects = [*_labelled(run, inputs), *inputs.splits.test]
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
) -> dict[str, Any]:
    """Return scores and cost of one training."""
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
    test_cases = cases_of(inputs.cases, inputs.splits.test)
    test = read_case_volumes(test_cases, inputs.scheme)
    predictions = predict(network, test.images)
    return {
        **asdict(run),
        "num_real": len(real.names),
        "num_synthetic": 0 if synthetic is None else len(synthetic.names),
        "cost": asdict(record),
        "scores": _scores(run, test_cases, test, predictions, inputs.scheme),
    }


def _scores(
    run: _Run,
    cases: Sequence[Case],
    volumes: LabelledVolumes,
    predictions: NDArray[np.uint8],
    scheme: LabelScheme,
) -> list[dict[str, Any]]:
    """Return one row per test case and structure."""
    rows = []
    for case, labels, prediction in zip(cases, volumes.labels, predictions, strict=True):
        scores = score_map(prediction, labels.numpy(), scheme=scheme, spacing_mm=volumes.spacing_mm)
        for score in scores:
            about = {"case_id": case.case_id, "subject_id": case.subject_id}
            rows.append({**asdict(run), **about, **asdict(score)})
    return rows


def _summary(
    scores: pd.DataFrame,
    runs: Sequence[dict[str, Any]],
    settings: StudySettings,
    inputs: StudyInputs,
) -> dict[str, Any]:
    """Return means and paired differences with intervals, and what the study cost."""
    means, differences = [], []
    for metric in ("dice", "hd95_mm"):
        for num_labelled in settings.num_labelled:
            tables = {a: _table(scores, metric, a, num_labelled) for a in settings.arms}
            for arm, table in tables.items():
                name = {"metric": metric, "arm": arm, "num_labelled": num_labelled}
                estimate = bootstrap_mean(
                    table,
                    num_draws=settings.bootstrap_draws,
                    generator=numpy_generator("mean", metric, arm, num_labelled),
                )
                means.append({**name, **asdict(estimate)})
                if arm == "real" or "real" not in tables:
                    continue
                paired = paired_bootstrap(
                    tables["real"],
                    table,
                    num_draws=settings.bootstrap_draws,
                    generator=numpy_generator("difference", metric, arm, num_labelled),
                )
                differences.append({**name, "against": "real", **asdict(paired)})
    seconds = sum(run["cost"]["seconds"] for run in runs)
    spent = sum(run["cost"]["augmentation_seconds"] for run in runs)
    return {
        "kind": "study",
        "means": means,
        "differences": differences,
        "structures": list(inputs.scheme.names),
        "num_test_subjects": len(inputs.splits.test),
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


def _table(scores: pd.DataFrame, metric: str, arm: str, num_labelled: int) -> NDArray[np.float64]:
    """Return scores [seeds, subjects], each the mean over structures and a subject's cases."""
    chosen = scores[(scores["arm"] == arm) & (scores["num_labelled"] == num_labelled)]
    table = chosen.pivot_table(index="seed", columns="subject_id", values=metric, aggfunc="mean")
    return np.asarray(table.to_numpy(), dtype=np.float64)
