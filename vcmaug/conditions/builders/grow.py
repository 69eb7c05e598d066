"""`grow`: structures grown or shrunk to volumes, with all that lies around them.

A sweep of the volumes that labelled cases lack: neighbours are pushed and thinned, none is
overwritten, and an image follows by the same flow. What goes too far is refused.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, field_validator, model_validator

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import Builder, Moves, Ready, unknown_structures
from vcmaug.conditions.deformed_map import deformed_map, parts_kept
from vcmaug.conditions.resize import Side, resized, side_voxels, side_weights
from vcmaug.conditions.topology import counts_of, parts_of
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import evenly, numpy_generator

if TYPE_CHECKING:
    from vcmaug.conditions.growth import Growth

__all__ = ["Grow", "GrowDraw", "GrowSettings", "Growing", "range_of_volumes"]

_VOLUME_TOLERANCE = 0.02
_LEFT = 0.015  # of a volume, that need not be corrected
_SMOOTHER = (0.6, 1.4)  # of further tries: whether a neck of one voxel holds is chance


def range_of_volumes(value: tuple[float, float]) -> tuple[float, float]:
    """Return two volumes.

    Raises:
        ValueError: They are none, or the second is the smaller.
    """
    if not 0 < value[0] <= value[1] < math.inf:
        raise ValueError("expected two volumes with 0 < first <= second")
    return value


class GrowSettings(Settings):
    """One structure, and the volumes that it shall have; exactly one way to name them."""

    structure: str
    side: Side = Field("both", description="of the body; volumes are of this side alone")
    even_ml: tuple[float, float] | None = Field(
        None, description="evenly between two volumes, over the conditions of the chain"
    )
    each_ml: tuple[float, ...] = Field(
        (), description="one after the other, for each source; each volume is above 0"
    )
    column_ml: str | None = Field(None, description="a column of the case table has the volume")
    times: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="its volume in the source; 1 keeps it"
    )

    @field_validator("even_ml")
    @classmethod
    def _is_range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        """Refuse volumes that are none."""
        return None if value is None else range_of_volumes(value)

    @model_validator(mode="after")
    def _one_way(self) -> "GrowSettings":
        """Refuse none and several ways, and volumes that are none."""
        single = (self.even_ml, self.column_ml, self.times)
        if sum(way is not None for way in single) + bool(self.each_ml) != 1:
            raise ValueError("give exactly one of even_ml, each_ml, column_ml and times")
        if not all(0 < volume < math.inf for volume in self.each_ml):
            raise ValueError("each_ml: expected volumes above 0")
        return self


class Grow(Builder):
    """Which structures get which volumes, and how far their surroundings move along."""

    name: Literal["grow"] = "grow"
    measures_source = True
    structures: tuple[GrowSettings, ...] = Field(min_length=1)
    decay_mm: float = Field(
        14.0, gt=0, description="outside, everything moves less by exp(-distance / decay_mm)"
    )
    smoothness_mm: float = Field(6.0, ge=0, description="sigma of the Gaussian on the flow")
    hold_outline: bool = Field(
        True,
        description="nothing moves at the outline of all that is labelled; false where what lies "
        "outside is tissue without a label",
    )
    specks: float = Field(
        0.05, ge=0, lt=0.5, description="share of a structure below which a part does not count"
    )
    max_tries: int = Field(
        10, ge=1, description="flows before a source is given up, each of another smoothness"
    )

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return structures that are not in the scheme, or that are asked for twice."""
        named = [one.structure for one in self.structures]
        asked = Counter((one.structure, one.side) for one in self.structures)
        twice = {
            name
            for (name, side), n in asked.items()
            if n > 1 or (side == "both" and named.count(name) > 1)
        }
        return [
            *unknown_structures({"structures": named}, structures),
            *(f"structures: {name!r} is asked for twice" for name in sorted(twice)),
        ]

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what builds; it learns nothing."""
        return Growing(self, scheme)

    @classmethod
    def moves(cls, parameters: Mapping[str, JsonValue]) -> Moves:
        """Return that images follow."""
        del parameters
        return "images follow"

    @classmethod
    def grew(cls, parameters: Mapping[str, JsonValue]) -> frozenset[int]:
        """Return the values of the structures with a larger volume than before."""
        goals = GrowDraw.model_validate(parameters).goals
        return frozenset(goal.value for goal in goals if goal.volume_mm3 > goal.before_mm3)

    @classmethod
    def constants(cls, parameters: Mapping[str, JsonValue]) -> str:
        """Return the decay of the flow; its smoothness differs from try to try."""
        return f"decay_mm {GrowDraw.model_validate(parameters).decay_mm:g}"

    @classmethod
    def follow(
        cls,
        volume: Volume,
        parameters: Mapping[str, JsonValue],
        *,
        source: Volume | None = None,
        classes: bool = False,
    ) -> Volume:
        """Return a volume moved by the flow that the source's label map takes.

        Raises:
            DataError: There is no label map, or it is not the one that was measured.
        """
        from vcmaug.data.deformation import deform_image, deform_label_map

        deformed = deform_label_map if classes else deform_image
        draw = GrowDraw.model_validate(parameters)
        if source is None or any(_volume_mm3(source, one) != one.before_mm3 for one in draw.goals):
            raise DataError(
                "growing structures of an image: the label map of its source is not the one that "
                "was grown. Build the conditions again from these cases."
            )
        return Volume(deformed(volume.array, draw.flow(source).displacement), volume.affine)


class GrowGoal(Settings):
    """The volume of a structure, by its value in label maps, before and after."""

    value: int
    side: Side
    before_mm3: float
    volume_mm3: float


class GrowDraw(Settings):
    """What one draw decides, as a step records it; the flow follows from the source's map."""

    goals: tuple[GrowGoal, ...]
    decay_mm: float
    smoothness_mm: float
    hold_outline: bool

    def flow(self, source: Volume) -> "Growth":
        """Return the flow that brings the structures of a label map to their volumes."""
        from vcmaug.conditions.growth import Flow, Goal, flow_to

        return flow_to(
            [Goal(one.value, one.volume_mm3, one.side) for one in self.goals],
            source,
            flow=Flow(self.decay_mm, self.smoothness_mm, self.hold_outline),
        )


@dataclass(frozen=True)
class Growing:
    """Grows structures of label maps of a scheme.

    Attributes:
        settings: Which, and to what volumes.
        scheme: Of the label maps.
    """

    settings: Grow
    scheme: LabelScheme

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with structures at their volumes.

        Raises:
            DataError: A structure or a volume is not there, or no flow of `max_tries` folds
                nothing, keeps the topology and reaches the volumes; the reasons are counted.
        """
        settings, volume = self.settings, condition.label_map
        indices = self.scheme.channels(volume.array)
        wanted = counts_of(parts_of(indices, self.scheme.num_structures))
        refused: Counter[str] = Counter()
        for tries in range(1, settings.max_tries + 1):
            draw = self._draw(condition, seed, tries)
            growth = draw.flow(volume)
            after = deformed_map(
                indices,
                growth.displacement,
                num_structures=self.scheme.num_structures,
                wanted=wanted,
                specks=settings.specks,
                exact=list(dict.fromkeys(self._channel(goal) for goal in draw.goals)),
            )
            after = self._at_volumes(after, volume, draw)
            label_map = Volume(self.scheme.label_map(after), volume.affine)
            fault = self._fault(draw, growth, indices, label_map)
            if fault is None:
                checks = {
                    "min_jacobian": round(growth.least_jacobian, 5),
                    "flow_steps": float(growth.steps),
                    "tries": float(tries),
                    **{f"refused_{name}": float(count) for name, count in sorted(refused.items())},
                }
                return condition.changed(
                    Step(settings.name, draw.model_dump(), checks), label_map=label_map
                )
            refused[fault] += 1
        reasons = ", ".join(f"{count} for {reason}" for reason, count in refused.items())
        asked = ", ".join(
            f"{one.structure} of {goal.before_mm3 / 1000:.1f} ml to {goal.volume_mm3 / 1000:.1f} ml"
            for one, goal in zip(settings.structures, draw.goals, strict=True)
        )
        raise DataError(
            f"growing case {condition.source.case_id}, {asked}: {tries} flows were refused "
            f"({reasons}). Ask for volumes nearer to those of the source, raise specks, or set "
            "hold_outline: false if what lies outside the labels is tissue."
        )

    def _draw(self, condition: Condition, seed: int, tries: int) -> GrowDraw:
        """Return volumes, and the smoothness of one try."""
        settings, goals = self.settings, []
        factor = float(numpy_generator(seed, "grow", tries).uniform(*_SMOOTHER))
        for place, one in enumerate(settings.structures):
            value = self.scheme.values[self.scheme.names.index(one.structure)]
            goal = GrowGoal(value=value, side=one.side, before_mm3=0.0, volume_mm3=0.0)
            before = _volume_mm3(condition.label_map, goal)
            if before == 0:
                raise DataError(
                    f"growing case {condition.source.case_id}: there is no {one.structure!r} "
                    f"({one.side}) in its label map. Leave the case out."
                )
            wanted = self._volume_ml(place, condition, before_ml=before / 1000.0)
            changed = {"before_mm3": before, "volume_mm3": round(1000.0 * wanted, 3)}
            goals.append(goal.model_copy(update=changed))
        return GrowDraw(
            goals=tuple(goals),
            decay_mm=settings.decay_mm,
            smoothness_mm=round(settings.smoothness_mm * (factor if tries > 1 else 1.0), 3),
            hold_outline=settings.hold_outline,
        )

    def _volume_ml(self, place: int, condition: Condition, *, before_ml: float) -> float:
        """Return the volume that a structure shall have."""
        one = self.settings.structures[place]
        if one.times is not None:
            return one.times * before_ml
        if one.each_ml:
            return one.each_ml[condition.turn % len(one.each_ml)]
        if one.even_ml is not None:
            low, high = one.even_ml
            share = evenly(condition.uses, place, len(self.settings.structures))
            return low + share * (high - low)
        wanted = condition.source.row.get(str(one.column_ml))
        if not isinstance(wanted, int | float) or not 0 < wanted < math.inf:
            raise DataError(
                f"growing case {condition.source.case_id}: column {one.column_ml!r} holds "
                f"{wanted!r}, expected a volume above 0 in ml."
            )
        return float(wanted)

    def _channel(self, goal: GrowGoal) -> int:
        """Return the channel of a goal's structure."""
        return self.scheme.values.index(goal.value) + 1

    def _at_volumes(
        self, indices: NDArray[np.uint8], volume: Volume, draw: GrowDraw
    ) -> NDArray[np.uint8]:
        """Return a map with the voxels that a structure lacks, or has beyond, at its outline.

        Few more or less are left: at an outline they may be the neck of a part.
        """
        for goal in draw.goals:
            channel, weights = self._channel(goal), side_weights(volume, goal.side)
            wanted = round(goal.volume_mm3 / float(np.prod(volume.spacing_mm)))
            by = wanted - side_voxels(indices, channel, weights)
            if abs(by) <= _LEFT * wanted:
                continue
            indices = resized(
                indices,
                channel,
                by=by,
                spacing_mm=volume.spacing_mm,
                weights=weights,
                apart=self.settings.specks / 2,
            )
        return indices

    def _fault(
        self, draw: GrowDraw, growth: "Growth", before: NDArray[np.uint8], label_map: Volume
    ) -> str | None:
        """Return why a draw is refused, or None."""
        if growth.least_jacobian <= 0:
            return "folds"
        after, specks = self.scheme.channels(label_map.array), self.settings.specks
        there = [int(k) for k in np.flatnonzero(np.bincount(before.ravel())) if k > 0]
        if any((after == k).sum() == 0 for k in there):
            return "lost structures"
        if not all(
            parts_kept(before, after, growth.displacement, channel=k, specks=specks) for k in there
        ):
            return "topology"
        missed = any(
            abs(volume / goal.volume_mm3 - 1.0) > _VOLUME_TOLERANCE
            for goal, reached in zip(draw.goals, growth.volumes_mm3, strict=True)
            for volume in (reached, _volume_mm3(label_map, goal))
        )
        return "volumes" if missed else None


def _volume_mm3(label_map: Volume, goal: GrowGoal) -> float:
    """Return the volume of a goal's structure on its side of a label map."""
    inside: NDArray[np.uint8] = (label_map.array == goal.value).astype(np.uint8)
    voxels = side_voxels(inside, 1, side_weights(label_map, goal.side))
    return round(voxels * float(np.prod(label_map.spacing_mm)), 3)
