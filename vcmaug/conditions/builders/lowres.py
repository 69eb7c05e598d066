"""`lowres`: an image as thick slices or as slabs with gaps, for super-resolution.

A slice profile along one axis, and the way back to the grid, as the channel `lowres`. Profiles are
those that scanners' handbooks name: a box, or a Gaussian by its full width at half maximum.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import Builder, Ready
from vcmaug.conditions.images import aligned_image
from vcmaug.conditions.slices import slice_weights, weights_of_slices
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["LowRes", "SliceMaking"]

_AXES = {"x": "RL", "y": "AP", "z": "SI"}


class LowRes(Builder):
    """Direction, distance and profile of the slices."""

    name: Literal["lowres"] = "lowres"
    adds: ClassVar[tuple[str, ...]] = ("lowres",)

    image: str = Field("image", description="name of the case's image")
    axis: Literal["x", "y", "z", "any"] = Field("z", description="x right-left, y, z; any: drawn")
    spacing_mm: tuple[float, float] = Field(
        description="from slice to slice, drawn between the two; one number is exact"
    )
    thickness: float = Field(1.0, gt=0, description="of a slice, share of its distance to the next")
    profile: Literal["box", "gaussian"] = Field(
        "box", description="a Gaussian's full width at half maximum is the thickness"
    )
    back: Literal["linear", "nearest"] = Field("linear", description="from slices to the grid")
    slab: float = Field(1.0, gt=0, le=1, description="share of the slices, in one drawn block")
    hide_gaps: bool = Field(False, description="between slices thinner than their distance")

    @field_validator("spacing_mm", mode="before")
    @classmethod
    def _pair(cls, value: object) -> object:
        """Take one number for both ends."""
        return (value, value) if isinstance(value, int | float) else value

    def passes_on(self, made: Set[str]) -> Set[str]:
        """Return the image that it reads."""
        del made
        return {self.image}

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what makes slices; it needs no scheme and learns nothing."""
        return SliceMaking(self)


@dataclass(frozen=True)
class SliceMaking:
    """Makes thick slices of an image.

    Attributes:
        settings: Of the slices.
    """

    settings: LowRes

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with the channel `lowres`; with slabs also `lowres_known`.

        Raises:
            DataError: The case has no such image, or slices would be thinner than voxels.
        """
        generator = numpy_generator(seed, "lowres")
        settings = self.settings
        axis = settings.axis if settings.axis != "any" else "xyz"[int(generator.integers(3))]
        spacing_mm = round(float(generator.uniform(*settings.spacing_mm)), 3)
        image = aligned_image(condition, settings.image)
        place = next(k for k, letter in enumerate(image.orientation) if letter in _AXES[axis])
        voxel_mm = image.spacing_mm[place]
        if spacing_mm < voxel_mm:
            raise DataError(
                f"condition {condition.condition_id}: slices {spacing_mm:g} mm apart on voxels of "
                f"{voxel_mm:g} mm; expected {voxel_mm:g} mm or more. Raise lowres.spacing_mm."
            )
        centres, weights = slice_weights(
            image.shape[place],
            voxel_mm=voxel_mm,
            spacing_mm=spacing_mm,
            thickness_mm=settings.thickness * spacing_mm,
            profile=settings.profile,
        )
        low = np.moveaxis(image.array, place, -1) @ weights.T  # [., ., M]
        back = weights_of_slices(centres, image.shape[place], how=settings.back)  # [size, M]
        along = np.moveaxis(low @ back.T, -1, place).astype(np.float32)
        shown = self._shown(centres, image.shape[place], voxel_mm, spacing_mm, generator)
        shape = [-1 if k == place else 1 for k in range(3)]
        known = np.broadcast_to(shown.reshape(shape), image.shape)
        channels = {"lowres": Volume(np.where(known, along, 0).astype(np.float32), image.affine)}
        if not shown.all():
            channels["lowres_known"] = Volume(known.astype(np.uint8), image.affine)
        drawn = {"axis": axis, "spacing_mm": spacing_mm}
        used = settings.model_dump(include={"image", "thickness", "profile", "back"})
        checks = {"slices": float(len(centres)), "share_known": round(float(shown.mean()), 4)}
        step = Step(settings.name, drawn | used, checks)
        return condition.changed(step, channels={**condition.channels, **channels})

    def _shown(
        self,
        centres: NDArray[np.float64],
        size: int,
        voxel_mm: float,
        spacing_mm: float,
        generator: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """Return which voxels along the axis a slice of the slab covers, bool [size]."""
        count = max(1, round(self.settings.slab * len(centres)))
        first = int(generator.integers(len(centres) - count + 1))
        away_mm = np.abs(np.arange(size) - centres[:, None]) * voxel_mm  # [M, size]
        nearest = away_mm.argmin(axis=0)
        shown: NDArray[np.bool_] = (nearest >= first) & (nearest < first + count)
        if self.settings.hide_gaps:
            shown &= away_mm.min(axis=0) <= self.settings.thickness * spacing_mm / 2
        return shown
