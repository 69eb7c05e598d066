"""What builders work on, a source map and a condition, and what an image is drawn for.

A drawer needs no provenance: a condition that was read from a folder, and a case's own label map
with scalars and channels, both serve as targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from vcmaug.data.case import Case, Cell
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.nifti import read_label_map
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.steps import Step
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

__all__ = [
    "LABEL_MAP",
    "Cell",
    "Condition",
    "Drawable",
    "SourceMap",
    "Step",
    "Target",
    "as_it_is",
    "recomputed",
    "source_map",
]


LABEL_MAP = "label_map"
"""The channel that is the label map itself."""


@dataclass(frozen=True)
class SourceMap:
    """A labelled case as a builder sees it.

    Attributes:
        case_id: Of the case.
        subject_id: The person.
        label_map: Values of the scheme, uint16.
        row: Of the case table.
        images: Its images by name, as files or in memory, for those builders that need one; `image`
            is the first.
    """

    case_id: str
    subject_id: str
    label_map: Volume
    row: Mapping[str, Cell]
    images: Mapping[str, Path | Volume] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """What to ask for, and the record from which it can be made again.

    Attributes:
        condition_id: Unique in its table.
        source: The labelled case that it began with.
        label_map: The map to draw an image for.
        row: Columns for scalars: volumes recomputed from the map, age and sex of the source.
        source_case_ids: Every case that went into it.
        source_subject_ids: Their subjects.
        turn: How often the source has been used before by the same chain of builders.
        uses: How often the chain has been used before, whatever the source.
        steps: What the builders did, in order.
        channels: Other volumes on the map's grid, by name; a channel that is absent has no entry.
        presence: Which channels a control is shown; empty: the label map alone.
    """

    condition_id: str
    source: SourceMap
    label_map: Volume
    row: Mapping[str, Cell]
    source_case_ids: tuple[str, ...]
    source_subject_ids: tuple[str, ...]
    turn: int = 0
    uses: int = 0
    steps: tuple[Step, ...] = ()
    channels: Mapping[str, Volume] = field(default_factory=dict)
    presence: Mapping[str, bool] = field(default_factory=dict)

    @property
    def builder(self) -> str:
        """Names of the builders, e.g. "shape_model+lesions"."""
        return "+".join(step.builder for step in self.steps)

    def changed(
        self, step: Step, *, cases: Sequence[str] = (), subjects: Sequence[str] = (), **new: Any
    ) -> "Condition":
        """Return the condition after a step, with the parents that it adds.

        Args:
            step: What was done.
            cases: Ids of other cases that went into it.
            subjects: Ids of their subjects.
            **new: Fields that the step replaced.
        """
        return replace(
            self,
            steps=(*self.steps, step),
            source_case_ids=tuple(dict.fromkeys((*self.source_case_ids, *cases))),
            source_subject_ids=tuple(dict.fromkeys((*self.source_subject_ids, *subjects))),
            **new,
        )


def source_map(case: Case) -> SourceMap:
    """Return a labelled case as builders see it.

    Raises:
        DataError: It has no label map.
    """
    if case.label is None:
        raise DataError(f"building conditions: case {case.case_id} has no label map.")
    label_map = read_label_map(case.label, case_id=case.case_id)
    return SourceMap(case.case_id, case.subject_id, label_map, case.columns, case.images)


def as_it_is(
    source: SourceMap,
    *,
    condition_id: str,
    turn: int = 0,
    uses: int = 0,
    inherit: Sequence[str] = (),
) -> Condition:
    """Return a source's own map as a condition, before any step.

    Args:
        source: A labelled case.
        condition_id: Unique in its table.
        turn: How often the source has been used before by the same chain of builders.
        uses: How often the chain has been used before, whatever the source.
        inherit: Columns of the case table that a condition takes over, where it has them.
    """
    return Condition(
        condition_id=condition_id,
        source=source,
        label_map=source.label_map,
        row={name: source.row[name] for name in inherit if name in source.row},
        source_case_ids=(source.case_id,),
        source_subject_ids=(source.subject_id,),
        turn=turn,
        uses=uses,
    )


def recomputed(
    row: Mapping[str, Cell], label_map: Volume, *, scheme: LabelScheme
) -> dict[str, Cell]:
    """Return a condition's columns for scalars, with the volumes of its final map in mm3."""
    volumes = volumes_mm3(label_map.array, scheme, label_map.spacing_mm)
    return dict(row) | {f"volume_{name}_mm3": volume for name, volume in volumes.items()}


class Drawable(Protocol):
    """Anything that an image can be drawn for; `Target` says what the attributes mean."""

    @property
    def condition_id(self) -> str:
        """Its name."""
        ...

    @property
    def label_map(self) -> Volume | None:
        """The label map."""
        ...

    @property
    def channels(self) -> Mapping[str, Volume]:
        """Other volumes by name."""
        ...

    @property
    def presence(self) -> Mapping[str, bool]:
        """Which channels are shown."""
        ...

    def values_of(self, scalars: Sequence[ScalarSpec]) -> Mapping[str, float | None]:
        """Return the raw values of a prior's scalars by name; None, or no entry, is missing."""
        ...


@dataclass(frozen=True)
class Target:
    """What one image is drawn for.

    Attributes:
        label_map: Values of the control's scheme on the prior's grid; None for a draw without a
            control.
        scalars: Raw values by name; None, or no entry, is missing.
        channels: Other volumes on the map's grid that a control is shown, by name, with masks
            `<name>_known` where a part is hidden.
        presence: Which channels are shown; one without an entry is shown where it is there.
        condition_id: Its name, from which the noise of a single draw comes.
    """

    label_map: Volume | None = None
    scalars: Mapping[str, float | None] = field(default_factory=dict)
    channels: Mapping[str, Volume] = field(default_factory=dict)
    presence: Mapping[str, bool] = field(default_factory=dict)
    condition_id: str = ""

    def values_of(self, scalars: Sequence[ScalarSpec]) -> Mapping[str, float | None]:
        """Return the raw values of a prior's scalars by name; None, or no entry, is missing."""
        del scalars
        return self.scalars
