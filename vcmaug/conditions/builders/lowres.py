"""`lowres`: an image as thick slices or as slabs with gaps, for super-resolution.

A slice profile along one axis, and the way back to the grid, as the channel `lowres`. Profiles are
those that scanners' handbooks name: a box, or a Gaussian by its full width at half maximum.
"""

import math
from collections.abc import Sequence, Set
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.affine import axis_towards
from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import Builder, Range, aligned_image
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["LowRes", "slice_weights", "weights_of_slices"]

_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))  # of a Gaussian of deviation 1
_AXES = {"x": "RL", "y": "AP", "z": "SI"}


class LowRes(Builder):
    """Direction, distance and profile of the slices."""

    name: Literal["lowres"] = "lowres"
    adds: ClassVar[tuple[str, ...]] = ("lowres",)

    image: str = Field("image", description="name of the case's image")
    axis: Literal["x", "y", "z", "any"] = Field("z", description="x right-left, y, z; any: drawn")
    spacing_mm: Range = Field(
        description="from slice to slice, drawn between the two; one number is exact"
    )
    thickness: float = Field(1.0, gt=0, description="of a slice, share of its distance to the next")
    profile: Literal["box", "gaussian"] = Field(
        "box", description="a Gaussian's full width at half maximum is the thickness"
    )
    back: Literal["linear", "nearest"] = Field("linear", description="from slices to the grid")
    slab: float = Field(1.0, gt=0, le=1, description="share of the slices, in one drawn block")
    hide_gaps: bool = Field(False, description="between slices thinner than their distance")

    def passes_on(self, made: Set[str]) -> Set[str]:
        """Return the image that it reads."""
        del made
        return {self.image}

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Self:
        """Return the builder itself; it needs no scheme and learns nothing."""
        return self

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with the channel `lowres`; with slabs also `lowres_known`.

        Raises:
            DataError: The case has no such image, or slices would be thinner than voxels.
        """
        generator = numpy_generator(seed, "lowres")
        axis = self.axis if self.axis != "any" else "xyz"[int(generator.integers(3))]
        spacing_mm = round(float(generator.uniform(*self.spacing_mm)), 3)
        image = aligned_image(condition, self.image)
        place = axis_towards(image.orientation, _AXES[axis])
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
            thickness_mm=self.thickness * spacing_mm,
            profile=self.profile,
        )
        low = np.moveaxis(image.array, place, -1) @ weights.T  # [., ., M]
        back = weights_of_slices(centres, image.shape[place], how=self.back)  # [size, M]
        along = np.moveaxis(low @ back.T, -1, place).astype(np.float32)
        shown = self._shown(centres, image.shape[place], voxel_mm, spacing_mm, generator)
        shape = [-1 if k == place else 1 for k in range(3)]
        known = np.broadcast_to(shown.reshape(shape), image.shape)
        channels = {"lowres": Volume(np.where(known, along, 0).astype(np.float32), image.affine)}
        if not shown.all():
            channels["lowres_known"] = Volume(known.astype(np.uint8), image.affine)
        drawn = {"axis": axis, "spacing_mm": spacing_mm}
        used = self.model_dump(include={"image", "thickness", "profile", "back"})
        checks = {"slices": float(len(centres)), "share_known": round(float(shown.mean()), 4)}
        step = Step(self.name, drawn | used, checks)
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
        count = max(1, round(self.slab * len(centres)))
        first = int(generator.integers(len(centres) - count + 1))
        away_mm = np.abs(np.arange(size) - centres[:, None]) * voxel_mm  # [M, size]
        nearest = away_mm.argmin(axis=0)
        shown: NDArray[np.bool_] = (nearest >= first) & (nearest < first + count)
        if self.hide_gaps:
            shown &= away_mm.min(axis=0) <= self.thickness * spacing_mm / 2
        return shown


def slice_weights(
    size: int, *, voxel_mm: float, spacing_mm: float, thickness_mm: float, profile: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centres of slices in voxels [M] and their weights on voxels [M, size].

    Slices lie about the middle of the axis. A row sums to 1: at the border a slice weighs what is
    there.

    Args:
        size: Voxels along the axis.
        voxel_mm: Their size.
        spacing_mm: Between centres of slices.
        thickness_mm: Of a slice.
        profile: box or gaussian.
    """
    step = spacing_mm / voxel_mm
    count = max(1, math.floor((size - 1) / step + 1e-9) + 1)
    centres = (size - 1) / 2 + (np.arange(count) - (count - 1) / 2) * step
    away = np.arange(size) - centres[:, None]  # [M, size]
    width = max(thickness_mm / voxel_mm, 1e-6)
    if profile == "gaussian":
        weights = np.exp(-0.5 * (away * _FWHM / width) ** 2)
    else:  # overlap of a voxel with the box
        upper = np.minimum(away + 0.5, width / 2)
        weights = np.maximum(upper - np.maximum(away - 0.5, -width / 2), 0.0)
    weights = np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(centres, dtype=np.float64), weights


def weights_of_slices(centres: NDArray[np.float64], size: int, *, how: str) -> NDArray[np.float64]:
    """Return the weights [size, M] of slices on the voxels of the axis."""
    voxels = np.arange(size)
    weights = np.zeros((size, len(centres)))
    if how == "nearest" or len(centres) == 1:
        weights[voxels, np.abs(voxels[:, None] - centres).argmin(axis=1)] = 1.0
        return weights
    places = np.clip(np.interp(voxels, centres, np.arange(len(centres))), 0, len(centres) - 1)
    first = np.minimum(places.astype(int), len(centres) - 2)
    weights[voxels, first] = 1.0 - (places - first)
    weights[voxels, first + 1] += places - first
    return weights
