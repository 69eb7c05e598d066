"""The study: every arm at every n and seed, scored on the test subjects, with intervals.

All arms have the same initial weights, augmentation and number of updates, and at one n and seed
the same real cases. Test subjects are read at the very end of each training, and nothing is chosen
on them: choices are made with `scored_on: validation`.
"""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vcmaug.compute import Compute, run_all
from vcmaug.downstream.leaks import labelled_cases, refuse_leaks, refuse_real_leaks
from vcmaug.downstream.one_run import Run, StudyInputs, labelled_of_run, run_or_read
from vcmaug.downstream.results import RunResult, Summary, write_summary
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.summary import compared
from vcmaug.errors import DataError
from vcmaug.files import write_bytes, write_text
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import machine, versions

__all__ = ["StudyInputs", "StudySettings", "run_arm", "run_study"]


_FEWEST_TEST_SUBJECTS = 2
_MANY_SEEDS = 5


@dataclass(frozen=True)
class _Training:
    """One training for a worker, by value."""

    run: Run
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
    _check(runs, settings, inputs)
    done = _run_all(runs, settings, inputs, out=out, compute=compute, report=report)
    scores = pd.DataFrame([row for result in done for row in result.scores])
    write_bytes(out / "scores.parquet", scores.to_parquet(index=False))
    write_text(out / "scores.csv", scores.to_csv(index=False))
    summary = _summary(scores, done, settings, inputs)
    write_summary(out / "summary.json", summary)
    return summary


def _run_all(
    runs: Sequence[Run],
    settings: StudySettings,
    inputs: StudyInputs,
    *,
    out: Path,
    compute: Compute | None,
    report: Report,
) -> list[RunResult]:
    """Return the results of trainings; where there are workers, they leave them in files."""
    if compute is not None and compute.kind != "in-process":
        tasks = [_Training(run, settings, inputs, out.resolve()) for run in runs]
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
    return [run_or_read(run, settings, inputs, out=out, report=report) for run in runs]


def _do(task: _Training) -> None:
    """Run one training on a worker."""
    run_or_read(task.run, task.settings, task.inputs, out=task.out, report=silent)


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
    runs = [Run(arm, num_labelled, seed) for num_labelled, seed in replicates]
    _check(runs, settings, inputs)
    _run_all(runs, settings, inputs, out=out, compute=compute, report=report)


def _grid(settings: StudySettings, inputs: StudyInputs) -> list[Run]:
    """Return all trainings; a ceiling has one per seed, whatever n."""
    ceilings = [name for name, data in inputs.arms.items() if data.is_ceiling]
    runs = [
        Run(arm, num_labelled, seed)
        for num_labelled in settings.num_labelled
        for seed in settings.seeds
        for arm in inputs.arms
        if arm not in ceilings
    ]
    num_all = len(inputs.splits.train)
    return runs + [Run(arm, num_all, seed) for seed in settings.seeds for arm in ceilings]


def _check(runs: Sequence[Run], settings: StudySettings, inputs: StudyInputs) -> None:
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
        subjects = labelled_of_run(run, inputs)
        refuse_real_leaks(subjects, splits)
        labelled_cases(inputs.cases, subjects, role="labelled")
        cohort = run.cohort(inputs)
        if cohort is not None:
            refuse_leaks(
                cohort,
                labelled_subjects=subjects,
                splits=splits,
                cases=inputs.cases,
                scheme=inputs.scheme,
                unlabelled=inputs.arms[run.arm].sees_unlabelled,
            )


def _summary(
    scores: pd.DataFrame, runs: Sequence[RunResult], settings: StudySettings, inputs: StudyInputs
) -> Summary:
    """Return means and paired differences with intervals, and what the study cost."""
    seconds = sum(run.cost.seconds for run in runs)
    spent = sum(run.cost.augmentation_seconds for run in runs)
    found = compared(
        scores,
        inputs.arms,
        figures=[score.name for score in settings.task.scores],
        num_labelled=settings.num_labelled,
        num_draws=settings.bootstrap_draws,
    )
    return Summary(
        means=tuple(found.means),
        differences=tuple(found.differences),
        gap_closed=tuple(found.gap_closed),
        task=settings.task.name,
        scores=settings.task.scores,
        structures=inputs.scheme.names,
        scored_on=settings.scored_on,
        num_test_subjects=len(inputs.scored(settings)),
        updates=settings.fit.updates,
        num_labelled=settings.num_labelled,
        seeds=settings.seeds,
        runs=tuple(run.facts for run in runs),
        seconds=seconds,
        augmentation_share=spent / seconds if seconds else 0.0,
        empty_rule=settings.task.empty_rule,
        seeds_resampled=len(settings.seeds) > 1,
        interval="95 % percentile bootstrap over subjects"
        + (" and seeds" if len(settings.seeds) > 1 else "; one seed, so none over seeds")
        + ("; few seeds, so rather too narrow" if len(settings.seeds) < _MANY_SEEDS else ""),
        versions=versions(),
        machine=machine(),
    )
