"""The study: every arm at every n and seed, scored on the test subjects, with intervals.

All arms have the same initial weights, augmentation and number of updates, and at one n and seed
the same real cases. Test subjects are read at the very end of each training, and nothing is chosen
on them: choices are made with `scored_on: validation`.

Nothing in the summary depends on when or how fast it was made: at one thread, the same study has
the same bytes on every number of cores. What it cost stands in a file of its own.

A run is known by everything that decides its scores, so that a finished one is read again and a
changed one is made anew.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from torch import nn

from vcmaug.cohort.cohort import Cohort
from vcmaug.compute import Compute, run_all
from vcmaug.compute.devices import threads_of
from vcmaug.cores import allowed_cores
from vcmaug.data.case import IMAGE, LABEL, files_of
from vcmaug.data.cases import Case, labelled_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.data.volume import other_voxels
from vcmaug.data.volumes import LabelledVolumes, read_case_volumes
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.fit import fit
from vcmaug.downstream.leaks import (
    labels_of_priors,
    labels_of_starts,
    refuse_leaks,
    refuse_real_leaks,
    refuse_unlabelled,
)
from vcmaug.downstream.results import (
    RunResult,
    Summary,
    read_result,
    write_cost,
    write_summary,
)
from vcmaug.downstream.settings import FEWEST_SCORED, StudySettings
from vcmaug.downstream.summary import summarised
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import CohortError, DataError, list_faults
from vcmaug.files import locked, write_bytes, write_json, write_text
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import fingerprint
from vcmaug.seeding import stable_seed

__all__ = ["StudyInputs", "StudySettings", "run_arm", "run_study"]

_OTHER = "other batches"
_DECIDES = {"task", "segmenter", "augment", "fit", "lesions"}


@dataclass(frozen=True)
class StudyInputs:
    """What a study works on; for workers all of it can be sent by value.

    Attributes:
        cases: Prepared cases.
        splits: Who may be seen.
        scheme: Of the label maps.
        arms: What each arm trains on, by its name, in the order of tables.
        keep: Writes the network of an arm whose networks are kept.
        num_replicates: Of labelled cases, control and cohort; None: one per seed. One means that
            seeds are of the networks alone, whose differences are no verdict on the arms.
    """

    cases: tuple[Case, ...]
    splits: Splits
    scheme: LabelScheme
    arms: Mapping[str, TrainingData]
    keep: Callable[[nn.Module, Path], None] | None = None
    num_replicates: int | None = None


@dataclass(frozen=True)
class _Run:
    """One training of the grid; of a ceiling, n is the number of labelled training subjects."""

    arm: str
    num_labelled: int
    seed: int
    settings: StudySettings
    inputs: StudyInputs

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"{self.arm}, n = {self.num_labelled}, seed {self.seed}"

    @property
    def data(self) -> TrainingData:
        """What its arm trains on."""
        return self.inputs.arms[self.arm]

    @property
    def labelled(self) -> tuple[str, ...]:
        """Its labelled subjects; the same for every arm."""
        return labelled_subset(self.inputs.splits, num_labelled=self.num_labelled, seed=self.seed)

    @property
    def scored(self) -> tuple[str, ...]:
        """The subjects on which it is scored."""
        splits = self.inputs.splits
        return splits.test if self.settings.scored_on == "test" else splits.validation

    def cohort(self) -> Cohort | None:
        """Return the cohort that it trains on; None: it has real cases alone."""
        folder = self.data.cohort_of(self.num_labelled, self.seed)
        return None if folder is None else Cohort.open(folder)

    def refuse(self) -> None:
        """Refuse, before anything is trained, what would leak or could not be scored.

        Raises:
            LeakError: A held-out subject is in reach of a training.
            DataError: Fewer than two subjects are scored, or one has no label map.
        """
        inputs, role = self.inputs, self.settings.scored_on
        if len(set(self.scored)) < FEWEST_SCORED:
            raise DataError(
                f"running a study: the {role} has {len(self.scored)} subjects, an interval needs "
                f"{FEWEST_SCORED} or more. Raise splits.num_{role}."
            )
        refuse_unlabelled(inputs.cases, self.scored, role=role)
        refuse_real_leaks(self.labelled, inputs.splits)
        refuse_unlabelled(inputs.cases, self.labelled, role="labelled")
        cohort = self.cohort()
        if cohort is not None:
            refuse_leaks(
                cohort,
                labelled_subjects=self.labelled,
                splits=inputs.splits,
                cases=inputs.cases,
                scheme=inputs.scheme,
                unlabelled=self.data.sees_unlabelled,
            )

    def result(self, out: Path, *, report: Report) -> RunResult:
        """Return its result, from its file if nothing it depends on has changed.

        Args:
            out: Folder of the study.
            report: Told after every update.
        """
        path = run_file(out, self.arm, num_labelled=self.num_labelled, seed=self.seed)
        weights, keep = path.with_suffix(".safetensors"), self.inputs.keep
        keeps = keep is not None and self.data.keeps_network
        identity = self._identity()
        before = None if keeps and not weights.exists() else read_result(path)
        if before is not None and before.identity == identity:
            return before
        result, network = self._train_and_score(identity, report)
        if keep is not None and keeps:
            keep(network, weights)
        write_json(path, asdict(result))
        return result

    @property
    def _place(self) -> dict[str, str | int]:
        """Its columns in a table of scores."""
        return {"arm": self.arm, "num_labelled": self.num_labelled, "seed": self.seed}

    def _identity(self) -> str:
        """Return the fingerprint of all that it depends on."""
        cases = [
            [case.case_id, case.subject_id, case.hash_of(IMAGE), case.hash_of(LABEL)]
            for case in labelled_of(self.inputs.cases, [*self.labelled, *self.scored])
        ]
        made = [
            [case.case_id, case.hash_of(IMAGE), case.hash_of(LABEL)] for case in self.cohort() or ()
        ]
        shared = self.settings.model_dump(mode="json", include=_DECIDES)
        batches = [_OTHER] if self.data.has_other_batches else []
        scheme = self.inputs.scheme.to_json()
        return fingerprint([self._place, shared, cases, scheme, made, *batches])

    def _train_and_score(self, identity: str, report: Report) -> tuple[RunResult, nn.Module]:
        """Return scores and cost of the training, and the network."""
        scheme = self.inputs.scheme
        real = read_case_volumes(labelled_of(self.inputs.cases, self.labelled), scheme)
        cohort = self.cohort()
        made = None if cohort is None else _volumes_of(cohort, like=real)
        network, cost = fit(
            real,
            made,
            study=self.settings,
            seed=self.seed,
            batches=stable_seed(self.seed, _OTHER) if self.data.has_other_batches else None,
            what=str(self),
            report=report,
        )
        with threads_of(self.settings.fit.threads):
            scores = tuple(self._scores(network))
        result = RunResult(
            arm=self.arm,
            num_labelled=self.num_labelled,
            seed=self.seed,
            num_real=len(real.names),
            num_synthetic=0 if made is None else len(made.names),
            cost=cost,
            scores=scores,
            identity=identity,
        )
        return result, network

    def _scores(self, network: nn.Module) -> list[dict[str, object]]:
        """Return one row for everything that the task scores in each scored case."""
        task, ground = self.settings.task, self.settings.ground(self.inputs.scheme)
        cases = labelled_of(self.inputs.cases, self.scored)
        volumes = read_case_volumes(cases, self.inputs.scheme)
        inputs, targets = task.examples(*volumes.tensors())
        found = zip(cases, task.predict(network, inputs), targets.numpy(), strict=True)
        return [
            {**self._place, "case_id": case.case_id, "subject_id": case.subject_id, **row}
            for case, prediction, target in found
            for row in task.score(prediction, target, ground=ground, spacing_mm=volumes.spacing_mm)
        ]


def _volumes_of(cohort: Cohort, *, like: LabelledVolumes) -> LabelledVolumes:
    """Return the finished cases of a cohort, to be mixed with real ones.

    Raises:
        CohortError: No case is finished, or the grid is another than the real cases'.
    """
    if not cohort.cases:
        raise CohortError(
            f"reading cohort {cohort.folder}: no case is finished. Generate it again."
        )
    volumes = read_case_volumes(cohort.cases, like.scheme)
    if differs := other_voxels(volumes, than=like):
        raise CohortError(
            f"reading cohort {cohort.folder}: not on the grid of the real cases: {differs}. Use a "
            "prior of their grid."
        )
    return volumes


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
    runs = [_Run(arm, num_labelled, seed, settings, inputs) for num_labelled, seed in replicates]
    _run_all(runs, out=out, compute=compute, report=report)


def _run_all(
    runs: Sequence[_Run], *, out: Path, compute: Compute | None, report: Report
) -> list[RunResult]:
    """Return the results of trainings; where there are workers, they leave them in files."""
    for run in runs:
        run.refuse()
    with locked(out, purpose="training segmenters", together=True):
        if compute is not None and compute.kind != "in-process":
            _run_on_workers(runs, out=out, compute=compute, report=report)
        return [run.result(out, report=report) for run in runs]


def _run_on_workers(runs: Sequence[_Run], *, out: Path, compute: Compute, report: Report) -> None:
    """Leave the results of trainings in files."""
    ended = itertools.count(1)
    threads = max(1, allowed_cores() // max(1, compute.num))
    run_all(
        partial(_Run.result, out=out.resolve(), report=silent),
        runs,
        compute=compute,
        threads=runs[0].settings.fit.threads or threads,
        on_done=lambda run, _: report(Progress("trainings", next(ended), len(runs), str(run))),
    )


def _grid(settings: StudySettings, inputs: StudyInputs) -> list[_Run]:
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
    return [_Run(*place, settings, inputs) for place in places]
