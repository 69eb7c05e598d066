"""The study: every arm at every n and seed, scored on the test subjects, with intervals.

All arms have the same initial weights, augmentation and number of updates, and at one n and seed
the same real cases. Test subjects are read at the very end of each training, and nothing is chosen
on them: choices are made with `scored_on: validation`.
"""

import itertools
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from vcmaug.compute import Compute, run_all
from vcmaug.downstream.leaks import labelled_cases, refuse_leaks, refuse_real_leaks
from vcmaug.downstream.one_run import Run, StudyInputs
from vcmaug.downstream.results import RunResult, Summary, write_summary
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.summary import summarised
from vcmaug.errors import DataError
from vcmaug.files import write_bytes, write_text
from vcmaug.progress import Progress, Report, silent

__all__ = ["StudyInputs", "StudySettings", "run_arm", "run_study"]

_FEWEST_TEST_SUBJECTS = 2


def run_study(
    settings: StudySettings,
    inputs: StudyInputs,
    *,
    out: Path,
    compute: Compute | None = None,
    report: Report = silent,
) -> Summary:
    """Run what is missing of a study and return its summary.

    Args:
        settings: The grid.
        inputs: Cases, splits, scheme, and what each arm trains on; for workers its functions are
            importable by name.
        out: Gets runs/<arm>-n<k>-s<seed>.json, scores.parquet, scores.csv and summary.json.
        compute: Where the trainings run; None is this process, one after the other.
        report: Told after every update, or with workers after every training.

    Raises:
        LeakError: A cohort has seen what it may not; nothing is trained then.
        DataError: Cases cannot be trained on or scored; nothing is trained then.
    """
    runs = _grid(settings, inputs)
    done = _run_all(runs, out=out, compute=compute, report=report)
    scores = pd.DataFrame([row for result in done for row in result.scores])
    write_bytes(out / "scores.parquet", scores.to_parquet(index=False))
    write_text(out / "scores.csv", scores.to_csv(index=False))
    summary = summarised(
        scores,
        done,
        settings=settings,
        arms=inputs.arms,
        structures=inputs.scheme.names,
        num_test_subjects=len(runs[0].scored),
    )
    write_summary(out / "summary.json", summary)
    return summary


def run_arm(
    arm: str,
    replicates: Sequence[tuple[int, int]],
    *,
    settings: StudySettings,
    inputs: StudyInputs,
    out: Path,
    compute: Compute | None = None,
    report: Report = silent,
) -> None:
    """Run one arm at some (num_labelled, seed), where it is not done; see `run_study`.

    Its networks lie beside the results, as `.safetensors`, where the arm keeps them.
    """
    runs = [Run(arm, num_labelled, seed, settings, inputs) for num_labelled, seed in replicates]
    _run_all(runs, out=out, compute=compute, report=report)


def _run_all(
    runs: Sequence[Run], *, out: Path, compute: Compute | None, report: Report
) -> list[RunResult]:
    """Return the results of trainings; where there are workers, they leave them in files."""
    for run in runs:
        _refuse(run)
    if compute is not None and compute.kind != "in-process":
        ended = itertools.count(1)
        threads = max(1, (os.cpu_count() or 1) // max(1, compute.num))
        run_all(
            partial(_leave_result, out=out.resolve()),
            runs,
            compute=compute,
            threads=runs[0].settings.fit.threads or threads,
            on_done=lambda run, _: report(Progress("trainings", next(ended), len(runs), str(run))),
        )
    return [run.result(out, report=report) for run in runs]


def _leave_result(run: Run, *, out: Path) -> None:
    """Run one training on a worker."""
    run.result(out, report=silent)


def _grid(settings: StudySettings, inputs: StudyInputs) -> list[Run]:
    """Return all trainings; a ceiling has one per seed, whatever n."""
    ceilings = [name for name, data in inputs.arms.items() if data.is_ceiling]
    num_all = len(inputs.splits.train)
    places = [
        (arm, num_labelled, seed)
        for num_labelled in settings.num_labelled
        for seed in settings.seeds
        for arm in inputs.arms
        if arm not in ceilings
    ]
    places += [(arm, num_all, seed) for seed in settings.seeds for arm in ceilings]
    return [Run(*place, settings, inputs) for place in places]


def _refuse(run: Run) -> None:
    """Refuse, before anything is trained, what would leak or could not be scored.

    Raises:
        LeakError: A held-out subject is in reach of a training.
        DataError: Fewer than two subjects are scored, or a case has no label map.
    """
    inputs, role = run.inputs, run.settings.scored_on
    if len(set(run.scored)) < _FEWEST_TEST_SUBJECTS:
        raise DataError(
            f"running a study: the {role} has {len(run.scored)} subjects, an interval needs "
            f"{_FEWEST_TEST_SUBJECTS} or more. Raise splits.num_{role}."
        )
    labelled_cases(inputs.cases, run.scored, role=role)
    refuse_real_leaks(run.labelled, inputs.splits)
    labelled_cases(inputs.cases, run.labelled, role="labelled")
    cohort = run.cohort()
    if cohort is not None:
        refuse_leaks(
            cohort,
            labelled_subjects=run.labelled,
            splits=inputs.splits,
            cases=inputs.cases,
            scheme=inputs.scheme,
            unlabelled=run.data.sees_unlabelled,
        )
