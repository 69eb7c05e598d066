"""The family of arms, and the checks that an arm cannot train on data that it did not ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

from vcmaug.cohort.cohort import Cohort
from vcmaug.conditions.conditions import Conditions
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.work_layout import Replicate
from vcmaug.downstream.training_data import Rule, TrainingData
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
        n: How many cases a cohort of the recipe has.
        conditions: Folder of its conditions; they are there if the arm needs them.
        seed: Of the replicate.
    """

    cases: tuple[Case, ...]
    scheme: LabelScheme
    n: int
    conditions: Path = Path()
    seed: int = 0


class Arm(Part):
    """One mix of training data.

    An arm has real cases alone, or the cohort of a stage that its needs name, or a cohort that its
    own `make` writes. What does not fit together is refused when the class is defined. In Python an
    arm is given what it trains on or is made from, as in `Synthetic(cohort)`; that is no setting.

    Args:
        given: The cohort that it trains on, or the conditions that it makes its data of; None: the
            study of a recipe has them.
        **settings: Of the arm.

    Attributes:
        colour: Of the arm in plots, #rrggbb.
        marker: Of the arm in plots, as matplotlib names it.
        needs: What must be there before its data can be made or used.
        folder: Of its cohort, in the folder of a replicate; None: it has real cases alone.
        is_baseline: The others are held against it.
        is_ceiling: It trains on every label, once per seed.
        is_teacher: Its networks are kept, to give pseudo-labels and to check drawn images.
        has_other_batches: It draws other batches than all other arms, and shows what that does.
        is_of_all_labels: Its n cases are drawn from all labelled training subjects, not from the
            candidates alone.
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
    has_other_batches: ClassVar[bool] = False
    is_of_all_labels: ClassVar[bool] = False

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

    _given: Cohort | Conditions | None = PrivateAttr(None)

    def __init__(self, given: Cohort | Conditions | None = None, /, **settings: Any) -> None:
        super().__init__(**settings)
        takes = self.takes()
        if given is not None and (takes is None or not isinstance(given, takes)):
            wanted = "nothing" if takes is None else f"a {takes.__name__}"
            raise TypeError(f"arm {self.name} is given {wanted}, found a {type(given).__name__}")
        self._given = given

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # parsing does without it

    @classmethod
    def takes(cls) -> type[Cohort] | type[Conditions] | None:
        """Return what it is given in Python; None: nothing."""
        if cls.makes_data():
            return Conditions if Need.CONDITIONS in cls.needs else None
        return None if cls.folder is None else Cohort

    @property
    def given(self) -> Cohort | Conditions | None:
        """What it was given in Python."""
        return self._given

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

    @property
    def rule(self) -> Rule | None:
        """What finds structures in this arm without a network; None: a network is trained."""
        return None

    def training_data(self, replicates: Mapping[tuple[int, int], Replicate]) -> TrainingData:
        """Return what the study is told about the arm.

        Args:
            replicates: Of the study, by (num_labelled, seed).
        """
        folders = {key: self.cohort_folder(one) for key, one in replicates.items()}
        return self.data_of({key: path for key, path in folders.items() if path is not None})

    def data_of(self, cohorts: Mapping[tuple[int, int], Path]) -> TrainingData:
        """Return what the study is told about the arm.

        Args:
            cohorts: Folders of its cohorts by (num_labelled, seed); none for real cases alone.
        """
        resolved = {key: path.resolve() for key, path in cohorts.items()}
        return TrainingData(
            cohorts=None if self.folder is None else resolved,
            sees_unlabelled=Need.POOL in self.needs,
            is_baseline=self.is_baseline,
            is_ceiling=self.is_ceiling,
            keeps_network=self.is_teacher,
            has_other_batches=self.has_other_batches,
            of_all_labels=self.is_of_all_labels,
            rule=self.rule,
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
    name, folder = arm.model_fields["name"].default, arm.folder
    made = _folder_of_stage(arm.needs)
    if not arm.makes_data():
        if made is not None and folder != made:
            return [f"what it needs makes the cohort {made!r}, and its folder is {folder!r}"]
        if folder != made:
            return [
                f"it trains on {folder!r}, which nothing that it needs makes, and has no make()"
            ]
        return []
    if folder is None:
        return ["it makes a cohort and states no folder for it"]
    owner = "a stage" if Path(folder).parts[0] in _TAKEN else _OWN_FOLDERS.get(folder, name)
    if owner != name:
        return [f"it makes a cohort in {folder!r}, which is the folder of {owner}"]
    return []
