"""`vcmaug.study`: arms that share a few labelled cases, scored on the same test subjects.

Notes:
    The arms share one choice of labelled cases, one control and one cohort, which make one
    replicate; its seeds are those of the segmenters alone. Differences between such seeds are the
    noise against which a difference between arms is read, and no verdict on the arms: that takes
    replicates, each with its own cases, control and cohort, which `vcmaug run` makes of a recipe.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.arms.base import Arm, Sources
from vcmaug.cohort.cohort import Cohort
from vcmaug.compute import resolve_compute
from vcmaug.conditions.conditions import Conditions
from vcmaug.config import parse_settings
from vcmaug.data.cases import Cases
from vcmaug.data.splits import Splits
from vcmaug.doors import Shown
from vcmaug.downstream.results import Difference, Mean, Summary, read_summary
from vcmaug.downstream.study import StudyInputs, StudySettings, run_study
from vcmaug.downstream.tasks.base import Score
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import DataError, list_faults
from vcmaug.face.conditions import folder_for
from vcmaug.files import sha256_of_file
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint

__all__ = ["Study", "study"]

_MADE = 32  # cases of an arm that makes its own, where nothing else tells how many


@dataclass(frozen=True)
class Study(Shown):
    """A finished study of one replicate.

    Attributes:
        folder: With runs/, scores.parquet and summary.json.
        headline: The score that a table shows first.
    """

    folder: Path
    headline: Score

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per arm, seed, test case and structure."""
        return pd.read_parquet(self.folder / "scores.parquet")

    @cached_property
    def means(self) -> pd.DataFrame:
        """The mean of every score per arm, with a 95 % interval."""
        return _table(self.summary.means)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Every arm against the real cases alone, paired by subject and seed."""
        rows = self.summary.differences
        verdicts = [self.summary.verdict(row) for row in rows]
        return _table(rows).assign(replicates=self.summary.num_replicates, verdict=verdicts)

    @cached_property
    def summary(self) -> Summary:
        """What came out, as records."""
        return read_summary(self.folder / "summary.json")


def _table(rows: Sequence[Mean] | Sequence[Difference]) -> pd.DataFrame:
    """Return records as a table."""
    return pd.DataFrame([asdict(row) for row in rows])


@dataclass(frozen=True)
class _Replicate:
    """The labelled cases that all arms share, and what is the same for all that they make.

    Attributes:
        few: The labelled cases.
        seeds: Of the segmenters.
        n: How many cases an arm makes.
        folder: Of the study.
    """

    few: Cases
    seeds: tuple[int, ...]
    n: int
    folder: Path

    def data_of(self, arm: Arm, *, report: Report) -> TrainingData:
        """Return what an arm trains on; it makes its cohort now if it makes one."""
        if arm.folder is None:
            return arm.data_of({})
        cohort = self._made(arm, report) if arm.makes_data() else _given(arm).folder
        return arm.data_of({(len(self.few.subjects), seed): cohort for seed in self.seeds})

    def _made(self, arm: Arm, report: Report) -> Path:
        """Return the cohort that an arm has made."""
        conditions = Path() if arm.takes() is None else _given(arm).folder
        table = conditions / "conditions.parquet"
        identity = [
            arm.model_dump(mode="json"),
            self.n,
            sha256_of_file(table) if table.exists() else None,
            [case.hashes for case in self.few],
        ]
        out = self.folder / "cohorts" / f"{arm.folder}-{fingerprint(identity)[:12]}"
        if not (out / "cohort.json").exists():  # written last
            sources = Sources(
                cases=self.few.cases,
                scheme=self.few.scheme,
                conditions=conditions,
                n=self.n,
                seed=0,
            )
            arm.make(sources, out=out, report=report)
        return out


def study(
    few: Cases,
    *,
    test: Cases,
    arms: Sequence[Arm | str],
    seeds: int | Sequence[int] = 3,
    validation: Cases | None = None,
    n: int | None = None,
    folder: Path | str | None = None,
    workers: int | None = None,
    report: Report = silent,
    **settings: Any,
) -> Study:
    """Train a network on each arm's data, score all on the same test subjects, and compare.

    Args:
        few: The labelled cases that all arms share.
        test: On which they are scored.
        arms: Such as `[Real(), Synthetic(cohort), Deformed(conditions)]`.
        seeds: Of the networks: how many, or which.
        validation: Held-out cases for `scored_on="validation"`; their subjects are kept from every
            arm in any case.
        n: Cases of an arm that makes its own; None: as many as the largest cohort or set of
            conditions that an arm is given.
        folder: Of results; the same call again reads what is there. None: a temporary one that
            lasts as long as this process.
        workers: Processes; None or 0: this one.
        report: Told after every update.
        **settings: Of `StudySettings`, such as `fit={"updates": 1000}`.

    Raises:
        LeakError: A held-out subject had a part in what an arm trains on.
        DataError: An arm lacks what it trains on, or cases cannot be trained on or scored.
    """
    chosen_arms = [parse_settings(Arm, arm, source="the arms of study") for arm in arms]
    most = max([len(one.given) for one in chosen_arms if one.given], default=_MADE)
    replicate = _Replicate(
        few=few,
        seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        n=most if n is None else n,
        folder=folder_for(folder, name="study"),
    )
    _refuse(chosen_arms, few, test)
    reads = [arm.given.folder for arm in chosen_arms if arm.given is not None]
    refuse_overlap("running a study", writes=[replicate.folder], reads=reads)
    grid = {"num_labelled": (len(few.subjects),), "seeds": replicate.seeds}
    chosen = parse_settings(StudySettings, {**settings, **grid}, source="the arguments of study")
    inputs = StudyInputs(
        cases=(*few.cases, *test.cases, *(validation.cases if validation else ())),
        splits=_splits(few, test, validation, scored_on=chosen.scored_on),
        scheme=few.scheme,
        arms={arm.name: replicate.data_of(arm, report=report) for arm in chosen_arms},
        num_replicates=1,
    )
    compute = resolve_compute(workers=workers)
    run_study(chosen, inputs, out=replicate.folder, compute=compute, report=report)
    return Study(replicate.folder, chosen.task.scores[0])


def _given(arm: Arm) -> Cohort | Conditions:
    """Return what an arm was given."""
    if arm.given is None:
        raise DataError(_lacking(arm))
    return arm.given


def _lacking(arm: Arm) -> str:
    """Return what to write for an arm that was given nothing."""
    kind = arm.takes()
    what = "" if kind is None else kind.__name__.lower()
    return f"arm {arm.name}: it is given its {what} in Python, {type(arm).__name__}({what})"


def _refuse(arms: Sequence[Arm], few: Cases, test: Cases) -> None:
    """Refuse arms that lack their data, or that ask for more labels than the few."""
    faults = [_lacking(arm) for arm in arms if arm.takes() and arm.given is None]
    faults += [
        f"arm {arm.name}: it trains on every label of a study's training subjects, and here are "
        "the few alone; run a recipe with it"
        for arm in arms
        if arm.is_ceiling
    ]
    if few.scheme != test.scheme:
        faults.append(f"structures are {few.scheme.names}, those of the test {test.scheme.names}")
    if faults:
        raise DataError(list_faults("running a study", faults))


def _splits(few: Cases, test: Cases, validation: Cases | None, *, scored_on: str) -> Splits:
    """Return the roles of a study; who is held out by the split that cases come from stays so."""
    held_out = {subject: role for subject, role in few.roles.items() if role != "train"}
    named = dict.fromkeys(test.subjects, "test")
    named |= dict.fromkeys(validation.subjects if validation else (), "validation")
    unscored = "validation" if scored_on == "test" else "test"
    others = dict.fromkeys([subject for subject in held_out if subject not in named], unscored)
    splits = Splits.of_roles({**others, **named})
    return Splits(few.subjects, splits.validation, splits.test, seed=0)
