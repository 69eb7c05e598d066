"""The family of arms, and the checks that an arm cannot train on data that it did not ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.work_layout import Replicate
from vcmaug.downstream.training_data import TrainingData
from vcmaug.parts import Part
from vcmaug.progress import Report, silent

__all__ = ["Arm", "Need", "Sources"]


class Need(Enum):
    """What an arm can ask of a replicate, in the order in which it is made."""

    TEACHER = "the network of the labelled cases alone"
    POOL = "the unlabelled set with the teacher's pseudo-labels"
    CONTROL = "a prior and a control"
    CONDITIONS = "conditions"
    COHORT = "a drawn cohort"


@dataclass(frozen=True)
class Sources:
    """What the data of an arm can be made from in one replicate.

    Attributes:
        cases: Its labelled cases.
        scheme: Of the label maps.
        conditions: Folder of its conditions; they are there if the arm needs them.
        n: How many cases a cohort of the recipe has.
        seed: Of the replicate.
    """

    cases: tuple[Case, ...]
    scheme: LabelScheme
    conditions: Path
    n: int
    seed: int


class Arm(Part):
    """One mix of training data.

    An arm has real cases alone, or the cohort of a stage that its needs name, or a cohort that its
    own `make` writes. What does not fit together is refused when the class is defined.

    Attributes:
        colour: Of the arm in plots, #rrggbb.
        marker: Of the arm in plots, as matplotlib names it.
        needs: What must be there before its data can be made or used.
        folder: Of its cohort, in the folder of a replicate; None: it has real cases alone.
        is_baseline: The others are held against it.
        is_ceiling: It trains on every label, once per seed.
        is_teacher: Its networks are kept, to give pseudo-labels and to check drawn images.
    """

    family: ClassVar[str] = "arm"
    home: ClassVar[str] = "vcmaug.arms"

    colour: ClassVar[str]
    marker: ClassVar[str] = "o"
    needs: ClassVar[frozenset[Need]]
    folder: ClassVar[str | None]
    is_baseline: ClassVar[bool] = False
    is_ceiling: ClassVar[bool] = False
    is_teacher: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse an arm that forgets something, then register it.

        Raises:
            TypeError: Names what the arm does not state, or what does not fit together.
        """
        name = cls.model_fields["name"].default
        if isinstance(name, str):
            faults = _faults_of(cls)
            if faults:
                raise TypeError(f"arm {name}: {'; '.join(faults)}")
            if cls.makes_data():
                _OWN_FOLDERS[str(cls.folder)] = name
        super().__pydantic_init_subclass__(**kwargs)

    @classmethod
    def of_result(cls, name: str) -> "type[Arm] | None":
        """Return the arm that a published result names, by its present name or a former one."""
        known = cls.parts()
        former = (arm for arm in known.values() if name in arm.formerly)
        return known.get(name) or next(former, None)

    @classmethod
    def makes_data(cls) -> bool:
        """Return whether it writes a cohort of its own."""
        return cls.make is not Arm.make

    def variant(self, replicate: Replicate) -> Replicate:
        """Return the replicate whose control and conditions the arm needs."""
        return replicate.with_pool if Need.POOL in self.needs else replicate

    def cohort_folder(self, replicate: Replicate) -> Path | None:
        """Return the folder of the cohort that it trains on; None: it has real cases alone."""
        return None if self.folder is None else replicate.folder / self.folder

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        """Write the arm's own cohort; an arm that trains on the cohort of a stage leaves it.

        Args:
            sources: What it can be made from.
            out: Folder of the cohort.
            report: Told as cases are written.
        """
        raise NotImplementedError

    def training_data(self, replicates: Mapping[tuple[int, int], Replicate]) -> TrainingData:
        """Return what the study is told about the arm.

        Args:
            replicates: Of the study, by (num_labelled, seed).
        """
        folders = {key: self.cohort_folder(one) for key, one in replicates.items()}
        cohorts = {key: path.resolve() for key, path in folders.items() if path is not None}
        return TrainingData(
            cohorts=None if self.folder is None else cohorts,
            sees_unlabelled=Need.POOL in self.needs,
            is_baseline=self.is_baseline,
            is_ceiling=self.is_ceiling,
            keeps_network=self.is_teacher,
        )


_OWN_FOLDERS: dict[str, str] = {}
"""Folder of a cohort that an arm makes -> name of the arm."""


def _folder_of_stage(needs: frozenset[Need]) -> str | None:
    """Return the folder of the cohort that a stage makes for an arm of such needs."""
    if Need.COHORT in needs:
        return "pool/cohort" if Need.POOL in needs else "cohort"
    return "pseudo" if Need.POOL in needs else None


_TAKEN = frozenset({"control", "conditions", "cohort", "quality", "acceptance", "pool", "pseudo"})


def _faults_of(arm: type[Arm]) -> list[str]:
    """Return what an arm forgets, or what of it does not fit together."""
    missing = arm.forgotten()
    if missing:
        return missing
    if not arm.makes_data():
        made = _folder_of_stage(arm.needs)
        return [] if arm.folder == made else [_of_other_data(arm.folder, made)]
    if arm.folder is None:
        return ["it makes a cohort and states no folder for it"]
    owner = _OWN_FOLDERS.get(arm.folder, arm.model_fields["name"].default)
    if Path(arm.folder).parts[0] in _TAKEN:
        return [f"it makes a cohort in {arm.folder!r}, which is the folder of a stage"]
    if owner != arm.model_fields["name"].default:
        return [f"it makes a cohort in {arm.folder!r}, which is the folder of {owner}"]
    return []


def _of_other_data(folder: str | None, made: str | None) -> str:
    """Return what is wrong with an arm that would train on data that it does not need."""
    if made is None:
        return f"it trains on {folder!r}, which nothing that it needs makes, and has no make()"
    return f"what it needs makes the cohort {made!r}, and its folder is {folder!r}"
