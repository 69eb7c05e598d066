"""`shape_model`: label maps, or some of their structures, drawn from a statistical shape model.

A draw of the modes is placed where the condition's structures lie, at a volume if asked. The model
is learned from every source of the folder.

Notes:
    Where structures are thin, islands come off a drawn shape; those beyond the number of parts that
    a structure has among the sources take the label around them, and their share is recorded.

References:
    Cootes et al. 1995 (limits in standard deviations).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import (
    Builder,
    Moves,
    Preparation,
    Ready,
    prepared_file,
    unknown_structures,
)
from vcmaug.conditions.learned_shapes import LearnedShapes, learn_shapes
from vcmaug.conditions.resize import resized, side_weights
from vcmaug.conditions.topology import counts_of, mended, nearest_others, parts_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["ShapeDrawing", "ShapeModel"]

_MOST_MENDED = 0.05  # of a drawn shape, as islands; more is another draw


class ShapeModel(Builder):
    """How many modes to keep, how far to go along them, and which structures to draw."""

    name: Literal["shape_model"] = "shape_model"
    structures: tuple[str, ...] | None = Field(
        None, min_length=1, description="the others stay as they are; None: the whole map"
    )
    volumes_mm3: dict[str, float] = Field({}, description="reached by moving the outline")
    max_deviations: float = Field(2.0, gt=0, description="limit of each mode, standard deviations")
    variance_kept: float = Field(0.98, gt=0, le=1)
    max_modes: int = Field(24, ge=1)
    max_tries: int = Field(10, ge=1, description="draws before a condition is given up")

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return structures that are not in the scheme, or at a volume and not drawn."""
        drawn = self.structures if self.structures is not None else tuple(self.volumes_mm3)
        named = {"structures": self.structures or (), "volumes_mm3": tuple(self.volumes_mm3)}
        return [
            *unknown_structures(named, structures),
            *(
                f"volumes_mm3: {name!r} is not among the structures that are drawn"
                for name in self.volumes_mm3
                if name not in drawn
            ),
        ]

    def learn(self, given: Preparation) -> None:
        """Learn the shapes of all sources."""
        path = prepared_file(given.folder, self.name, self)
        if not path.exists():
            learn_shapes(
                given.maps(),
                given.scheme.only(self.structures or given.scheme.names),
                variance_kept=self.variance_kept,
                max_modes=self.max_modes,
            ).write(path)

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what draws from the shapes that were learned in a folder."""
        learned = LearnedShapes.read(prepared_file(folder, self.name, self))
        return ShapeDrawing(self, scheme, learned)

    @classmethod
    def moves(cls, parameters: Mapping[str, JsonValue]) -> Moves:
        """Return that no image follows: a drawn shape is nobody's."""
        del parameters
        return "no image follows"


@dataclass(frozen=True)
class ShapeDrawing:
    """Draws shapes and puts them into label maps.

    Attributes:
        settings: How far along the modes, and of which structures.
        scheme: Of the label maps.
        learned: Of all sources.
    """

    settings: ShapeModel
    scheme: LabelScheme
    learned: LearnedShapes

    @property
    def drawn_scheme(self) -> LabelScheme:
        """The structures that are drawn."""
        return self.scheme.only(self.settings.structures or self.scheme.names)

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with a drawn shape where its structures lie.

        Raises:
            DataError: No draw of `max_tries` keeps every structure whole and reaches the volumes.
        """
        volume = condition.label_map
        here = self.drawn_scheme.channels(volume.array)
        pose = self.learned.pose_in(condition.source.case_id, here)
        for tries in range(1, self.settings.max_tries + 1):
            coefficients = self._draw(seed, tries)
            shape = self.learned.shape_of(coefficients, pose)
            indices = mended(shape, self.learned.topology, most=_MOST_MENDED)
            lost = 1.0 - int((indices > 0).sum()) / max(1, int((shape > 0).sum()))
            indices = self._at_volumes(indices, volume)
            if lost <= _MOST_MENDED and self._is_whole(indices):
                step = Step(
                    self.settings.name,
                    {
                        "coefficients": [round(float(value), 4) for value in coefficients],
                        "pose_voxels": pose.round(6).tolist(),
                    },
                    {"tries": float(tries), "share_lost": round(float(lost), 4)},
                )
                return condition.changed(
                    step,
                    cases=self.learned.case_ids,
                    subjects=self.learned.subject_ids,
                    label_map=Volume(self._put_in(indices, volume.array), volume.affine),
                )
        raise DataError(
            f"drawing condition {condition.condition_id} from a shape model of "
            f"{len(self.learned.case_ids)} maps: {self.settings.max_tries} draws lost or broke a "
            "structure. Lower max_deviations."
        )

    def _draw(self, seed: int, tries: int) -> NDArray[np.float64]:
        """Return coefficients [M] in standard deviations, none beyond the limit."""
        generator = numpy_generator(seed, "shape model", tries)
        limit = self.settings.max_deviations
        drawn = generator.standard_normal(len(self.learned.modes))
        while (beyond := np.abs(drawn) > limit).any():
            drawn[beyond] = generator.standard_normal(int(beyond.sum()))
        return np.round(drawn, 4)

    def _at_volumes(self, indices: NDArray[np.uint8], volume: Volume) -> NDArray[np.uint8]:
        """Return a drawn map whose structures have the requested volumes."""
        everywhere = side_weights(volume, "both")
        for name, volume_mm3 in self.settings.volumes_mm3.items():
            channel = self.drawn_scheme.names.index(name) + 1
            voxels = round(volume_mm3 / float(np.prod(volume.spacing_mm)))
            by = voxels - int(np.count_nonzero(indices == channel))
            indices = resized(
                indices, channel, by=by, spacing_mm=volume.spacing_mm, weights=everywhere
            )
        return indices

    def _is_whole(self, indices: NDArray[np.uint8]) -> bool:
        """Return whether every structure is there, in no more parts than among the sources."""
        found = counts_of(parts_of(indices, self.drawn_scheme.num_structures))
        return bool((found[:, 0] > 0).all() and (found <= self.learned.topology).all())

    def _put_in(self, indices: NDArray[np.uint8], array: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Return the map with the drawn structures in place of its own.

        What a structure leaves takes the nearest other label, but none at a volume of its own.
        """
        drawn = self.drawn_scheme.label_map(indices)
        if self.settings.structures is None:
            return drawn
        fixed = [self.scheme.names.index(name) + 1 for name in self.settings.volumes_mm3]
        before, result = self.scheme.channels(array), self.scheme.channels(drawn)
        own = np.isin(array, self.drawn_scheme.values)
        result = np.where(own | (result > 0), result, before)
        left = own & (result == 0)  # by a structure that was there and is not any more
        for channel in np.unique(before[left]):
            unfit = left | np.isin(result, [channel, *fixed])
            here = left & (before == channel)
            result[here] = nearest_others(result, unfit)[here]
        return self.scheme.label_map(result)
