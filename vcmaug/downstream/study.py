"""The study: every arm at every n and seed, scored on the test subjects, with intervals.

All arms have the same initial weights, augmentation and number of updates, and at one n and seed
the same real cases. Test subjects are read at the very end of each training, and nothing is chosen
on them: choices are made with `scored_on: validation`.

Nothing in the summary depends on when or how fast it was made: at one thread, the same study has
the same bytes on every number of cores. What it cost stands in a file of its own.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from vcmaug.compute import Compute, run_all
from vcmaug.cores import allowed_cores
from vcmaug.data.case import files_of
from vcmaug.data.cases import labelled_of
from vcmaug.downstream.leaks import (
    labels_of_priors,
    labels_of_starts,
)
from vcmaug.downstream.results import (
    RunResult,
    Summary,
    write_cost,
    write_summary,
)
from vcmaug.downstream.run import StudyInputs, StudyRun
from vcmaug.downstream.settings import FEWEST_SCORED, StudySettings
from vcmaug.downstream.summary import summarised
from vcmaug.errors import DataError, list_faults
from vcmaug.files import locked, write_bytes, write_text
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Progress, Report, silent

__all__ = ["StudyInputs", "StudySettings", "run_arm", "run_study"]


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
        out: Gets runs/<arm>-n<k>-s<seed>.json, scores.parquet, scores.csv, summary.json and, apart
            from these, cost.json.
        compute: Where the trainings run; None is this process, one after the other.
        report: Told after every update, or with workers after every training.

    Raises:
        LeakError: A cohort has seen what it may not; nothing is trained then.
        DataError: Cases cannot be trained on or scored; nothing is trained then.
    """
    refuse_overlap("running the study", writes=[out], reads=files_of(inputs.cases))
    runs = _grid(settings, inputs)
    groups = _groups_of(settings, inputs, scored=runs[0].scored)
    done = _run_all(runs, out=out, compute=compute, report=report)
    scores = pd.DataFrame([row for result in done for row in result.scores])
    if settings.groups is not None:
        scores["group"] = scores["subject_id"].map(groups)
    write_bytes(out / "scores.parquet", scores.to_parquet(index=False))
    write_text(out / "scores.csv", scores.to_csv(index=False))
    summary = summarised(
        scores,
        done,
        settings=settings,
        arms=inputs.arms,
        structures=inputs.scheme.names,
        num_replicates=inputs.num_replicates or len(settings.seeds),
        prior_labels=labels_of_priors(inputs.arms, inputs.splits),
        notes=labels_of_starts(inputs.arms),
    )
    write_summary(out / "summary.json", summary)
    write_cost(out / "cost.json", done)
    return summary


def _groups_of(
    settings: StudySettings, inputs: StudyInputs, *, scored: Sequence[str]
) -> dict[str, str]:
    """Return the group of each scored subject; none where there are no groups.

    Raises:
        DataError: A case states no group, a group has too few subjects, or an endpoint is no
            structure.
    """
    faults = [
        f"study.endpoints: found {name!r}, expected a structure ({', '.join(inputs.scheme.names)})"
        for name in settings.endpoints
        if name not in inputs.scheme.names
    ]
    groups: dict[str, str] = {}
    if settings.groups is not None:
        for case in labelled_of(inputs.cases, scored):
            group = case.columns.get(settings.groups)
            if group in (None, ""):
                faults.append(f"case {case.case_id}: column {settings.groups!r} names no group")
            groups[case.subject_id] = str(group)
    faults += [
        f"study.groups: {name!r} has {count} scored subject, an interval needs {FEWEST_SCORED}"
        for name, count in Counter(groups.values()).items()
        if count < FEWEST_SCORED
    ]
    if faults:
        raise DataError(list_faults("running a study", faults))
    return groups


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
    runs = [
        StudyRun(arm, num_labelled, seed, settings, inputs) for num_labelled, seed in replicates
    ]
    _run_all(runs, out=out, compute=compute, report=report)


def _run_all(
    runs: Sequence[StudyRun], *, out: Path, compute: Compute | None, report: Report
) -> list[RunResult]:
    """Return the results of trainings; where there are workers, they leave them in files."""
    for run in runs:
        run.refuse()
    with locked(out, purpose="training segmenters", together=True):
        if compute is not None and compute.kind != "in-process":
            _run_on_workers(runs, out=out, compute=compute, report=report)
        return [run.result(out, report=report) for run in runs]


def _run_on_workers(
    runs: Sequence[StudyRun], *, out: Path, compute: Compute, report: Report
) -> None:
    """Leave the results of trainings in files."""
    ended = itertools.count(1)
    threads = max(1, allowed_cores() // max(1, compute.num))
    run_all(
        partial(StudyRun.result, out=out.resolve(), report=silent),
        runs,
        compute=compute,
        threads=runs[0].settings.fit.threads or threads,
        on_done=lambda run, _: report(Progress("trainings", next(ended), len(runs), str(run))),
    )


def _grid(settings: StudySettings, inputs: StudyInputs) -> list[StudyRun]:
    """Return all trainings; a ceiling has one per seed, whatever n."""
    ceilings = [name for name, data in inputs.arms.items() if data.is_ceiling]
    num_all = len(inputs.splits.labelled)
    places = [
        (arm, num_labelled, seed)
        for num_labelled in settings.num_labelled
        for seed in settings.seeds
        for arm in inputs.arms
        if arm not in ceilings
    ]
    places += [(arm, num_all, seed) for seed in settings.seeds for arm in ceilings]
    return [StudyRun(*place, settings, inputs) for place in places]
