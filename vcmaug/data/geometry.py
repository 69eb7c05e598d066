"""Bringing volumes onto one grid: reorient, resample, crop or pad. The affine always follows.

`prepare` runs every image and label map through `to_grid`; `way_back` takes the three steps back.

Notes:
    Images are interpolated linearly after a Gaussian of half the shrink factor, the rule of
    scikit-image's anti-aliasing: sigma = (factor - 1) / 2.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy import ndimage

from vcmaug.affine import (
    axis_towards,
    centred,
    inverse,
    opposite,
    reoriented,
    shifted,
    with_steps,
)
from vcmaug.config import Settings
from vcmaug.data.volume import Volume
from vcmaug.shapes import Shape3, as_shape3

__all__ = [
    "Grid",
    "crop_or_pad",
    "crop_start",
    "onto",
    "reorient",
    "resample",
    "resampled_shape",
    "resampled_to",
    "share_outside",
    "start_of",
    "to_grid",
    "turned",
    "uncropped",
]

_STRAIGHT = 0.01  # voxel, by which axes may part over a grid
_NUMPY_MODE = {"zero": "constant", "edge": "edge", "reflect": "symmetric"}


class Grid(Settings):
    """The grid on which a recipe works; in Python its shape may stand first."""

    shape: Shape3 = Field(description="voxels along each axis")
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    orientation: str = Field("RAS", description="where the axes point")
    padding: Literal["zero", "edge", "reflect"] = Field(
        "zero", description="what stands beyond the image's border; label maps are padded alike"
    )
    centre: Literal["volume", "foreground"] = Field(
        "volume",
        description="of the file, or of the box about all voxels of the image above its least",
    )
    offset_mm: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="of the grid's centre from there, along its own axes"
    )

    def __init__(self, shape: Sequence[int], **settings: Any) -> None:
        super().__init__(**{"shape": shape, **settings})

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # parsing does without it

    @property
    def affine(self) -> NDArray[np.float64]:
        """The affine of this grid, [4, 4], with its centre at the world's origin."""
        return centred(self.orientation, self.spacing_mm, self.shape)

    @field_validator("orientation")
    @classmethod
    def _is_orientation(cls, value: str) -> str:
        """Refuse what is not three letters of three axes."""
        letters = set(value.upper())
        pairs = ({"R", "L"}, {"A", "P"}, {"S", "I"})
        if len(value) != 3 or any(len(pair & letters) != 1 for pair in pairs):
            raise ValueError("expected three letters such as RAS or LPI, one of each axis")
        return value.upper()

    @field_validator("spacing_mm")
    @classmethod
    def _is_positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        """Refuse a spacing that is not positive."""
        if min(value) <= 0:
            raise ValueError("expected three positive numbers of millimetres")
        return value


def turned(have: str, want: str) -> tuple[int, int, int]:
    """Return, for each axis of one orientation, the axis of another along the same line.

    Examples:
        >>> turned("PIR", "RAS")
        (2, 0, 1)
    """
    first, second, third = (axis_towards(have, letter + opposite(letter)) for letter in want)
    return first, second, third


def reorient(volume: Volume, orientation: str) -> Volume:
    """Return the volume with its axes flipped and swapped to point as asked; no voxel changes.

    Args:
        volume: Any orientation.
        orientation: Three letters, e.g. "RAS".
    """
    array, affine = reoriented(volume.array, volume.affine, orientation)
    return Volume(np.ascontiguousarray(array), affine)


def resample(volume: Volume, spacing_mm: tuple[float, float, float], *, is_label: bool) -> Volume:
    """Return the volume at another voxel size, covering the same field of view.

    Args:
        volume: Any spacing.
        spacing_mm: Wanted, along the volume's own axes.
        is_label: Label maps keep their values: each structure is blurred and resampled alone, and
            the largest wins. Images are blurred before they shrink, then interpolated linearly.
    """
    shape = resampled_shape(volume.shape, volume.spacing_mm, spacing_mm)
    return resampled_to(volume, shape, spacing_mm, is_label=is_label)


def _factors(have_mm: Sequence[float], want_mm: Sequence[float]) -> NDArray[np.float64] | None:
    """Return how far each axis shrinks, more than 1 where it does; None where nothing changes."""
    factors = np.asarray(want_mm) / np.asarray(have_mm)
    return None if np.allclose(factors, 1.0, atol=1e-4) else factors


def resampled_shape(shape: Shape3, have_mm: Sequence[float], want_mm: Sequence[float]) -> Shape3:
    """Return the shape that covers the same field of view at another voxel size."""
    factors = _factors(have_mm, want_mm)
    if factors is None:
        return shape
    return as_shape3(np.maximum(1, np.round(np.asarray(shape) / factors)).astype(int).tolist())


def resampled_to(
    volume: Volume, shape: Shape3, spacing_mm: Sequence[float], *, is_label: bool
) -> Volume:
    """Return the volume on a grid of another voxel size and shape that has the same centre.

    Args:
        volume: Any spacing.
        shape: Wanted.
        spacing_mm: Wanted, along the volume's own axes.
        is_label: As for `resample`.
    """
    factors = _factors(volume.spacing_mm, spacing_mm)
    if factors is None:
        return volume
    first = _first_centre(volume.shape, factors, np.asarray(shape))
    array = _resampled(volume.array, shape, factors, first, is_label=is_label)
    return Volume(array, volume.affine @ with_steps(factors.tolist(), first))


def onto(volume: Volume, like: Volume, *, is_label: bool) -> Volume:
    """Return a volume on the grid of another one in the same world, edges repeated.

    Args:
        volume: Its axes run along those of the other.
        like: On the grid.
        is_label: As for `resample`.

    Raises:
        ValueError: The axes do not run along each other.
    """
    oriented = reorient(volume, like.orientation)
    there = inverse(oriented.affine) @ like.affine  # voxel of the grid -> voxel of the volume
    factors, first = np.diag(there)[:3], there[:3, 3]
    turn = np.abs(there[:3, :3] - np.diag(factors)) * np.asarray(like.shape)
    if turn.max() > _STRAIGHT:
        raise ValueError(f"the axes of {volume.grid_in_words} and {like.grid_in_words} differ")
    array = _resampled(oriented.array, like.shape, factors, first, is_label=is_label)
    return Volume(array, like.affine)


def _resampled(
    array: NDArray[Any],
    shape: Shape3,
    factors: NDArray[np.float64],
    first: NDArray[np.float64],
    *,
    is_label: bool,
) -> NDArray[Any]:
    """Return an array at other voxels; the new voxel 0 lies at the old voxel `first`."""
    if is_label:
        return _resample_labels(array, shape, factors, first)
    return _resample_image(array.astype(np.float32), shape, factors, first)


def _first_centre(
    shape: Shape3, factors: NDArray[np.float64], sizes: NDArray[np.int_]
) -> NDArray[np.float64]:
    """Return the old voxel index under new voxel 0, such that both grids share their centre."""
    return (np.asarray(shape) - 1) / 2 - factors * (sizes - 1) / 2


def _resample_image(
    array: NDArray[np.float32],
    shape: Shape3,
    factors: NDArray[np.float64],
    first: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return one image, blurred where it shrinks, interpolated linearly."""
    sigmas = np.maximum(0.0, (factors - 1.0) / 2.0)
    blurred = ndimage.gaussian_filter(array, sigmas, mode="nearest")
    return ndimage.affine_transform(
        blurred, factors, offset=first, output_shape=shape, order=1, mode="nearest"
    )


def _resample_labels(
    array: NDArray[np.generic],
    shape: Shape3,
    factors: NDArray[np.float64],
    first: NDArray[np.float64],
) -> NDArray[np.generic]:
    """Return a label map resampled structure by structure."""
    values = np.unique(array)
    best = np.full(shape, -np.inf, dtype=np.float32)
    result = np.zeros(shape, dtype=array.dtype)
    for value in values:
        share = _resample_image((array == value).astype(np.float32), shape, factors, first)
        wins = share > best
        best[wins] = share[wins]
        result[wins] = value
    return result


def crop_or_pad(
    volume: Volume, shape: Shape3, *, padding: str, start: Shape3 | None = None
) -> Volume:
    """Return the volume cut or filled to a shape.

    Args:
        volume: Any shape.
        shape: Wanted.
        padding: "zero", "edge" or "reflect" (mirrored at the border, as often as needed).
        start: Voxel at which the shape begins; None: where both have the same centre.
    """
    array, start = volume.array, start or crop_start(volume.shape, shape)
    for axis, (first, wanted) in enumerate(zip(start, shape, strict=True)):
        widths = [(0, 0)] * 3
        widths[axis] = (max(0, -first), max(0, first + wanted - array.shape[axis]))
        if any(widths[axis]):
            array = np.pad(array, widths, mode=_NUMPY_MODE[padding])  # type: ignore[call-overload]
        first = max(0, first)
        array = np.take(array, range(first, first + wanted), axis=axis)
    return Volume(np.ascontiguousarray(array), shifted(volume.affine, start))


def crop_start(shape: Shape3, wanted: Shape3) -> Shape3:
    """Return the voxel at which a shape begins that is cut or filled about the centre of another.

    Examples:
        >>> crop_start((9, 8, 5), (6, 8, 8))
        (1, 0, -1)
    """
    excess = [size - want for size, want in zip(shape, wanted, strict=True)]
    return as_shape3([abs(more) // 2 * (1 if more >= 0 else -1) for more in excess])


def uncropped(volume: Volume, shape: Shape3, *, start: Shape3) -> Volume:
    """Return the volume as it was before `crop_or_pad`; what was cut off is 0.

    Args:
        volume: What `crop_or_pad` left.
        shape: Before it.
        start: Voxel of that shape at which the volume begins; negative where it was padded.
    """
    array = np.zeros(shape, dtype=volume.array.dtype)
    inner, outer = [], []
    for first, size, whole in zip(start, volume.shape, shape, strict=True):
        lower, upper = max(0, first), min(whole, first + size)
        outer.append(slice(lower, upper))
        inner.append(slice(lower - first, upper - first))
    array[tuple(outer)] = volume.array[tuple(inner)]
    return Volume(array, shifted(volume.affine, [-first for first in start]))


def start_of(image: Volume, grid: Grid) -> Shape3:
    """Return where a grid begins in an image that was reoriented and resampled, as a voxel of it.

    Args:
        image: Of a case; its label map and its other images begin there too.
        grid: It says where its centre lies.
    """
    oriented = reorient(image, grid.orientation)
    shape = resampled_shape(oriented.shape, oriented.spacing_mm, grid.spacing_mm)
    away_mm = np.asarray(grid.offset_mm)
    shown = (oriented.array > oriented.array.min()).astype(np.uint8)
    if grid.centre == "foreground" and shown.any():
        middle = [(part.start + part.stop - 1) / 2 for part in ndimage.find_objects(shown)[0]]
        steps = np.asarray(middle) - (np.asarray(oriented.shape) - 1) / 2
        away_mm = away_mm + steps * oriented.spacing_mm
    if not away_mm.any():
        return crop_start(shape, grid.shape)
    exact = (np.asarray(shape) - grid.shape) / 2 + away_mm / grid.spacing_mm
    return as_shape3(np.round(exact).astype(int).tolist())


def to_grid(volume: Volume, grid: Grid, *, is_label: bool, start: Shape3 | None = None) -> Volume:
    """Return the volume reoriented, resampled, and cropped or padded to a grid.

    Args:
        volume: Of a case.
        grid: The grid.
        is_label: As for `resample`.
        start: Of `start_of` for the image of the case; None: both have the same centre.
    """
    oriented = reorient(volume, grid.orientation)
    resampled = resample(oriented, grid.spacing_mm, is_label=is_label)
    return crop_or_pad(resampled, grid.shape, padding=grid.padding, start=start)


def share_outside(label_map: Volume, on_grid: Volume) -> float:
    """Return the share of what a label map labels, in mm3, that lies outside of a grid.

    Args:
        label_map: Before it is brought to the grid.
        on_grid: On the grid; where it lies counts, not what it holds.
    """
    labelled = label_map.array > 0
    total = np.count_nonzero(labelled)
    if total == 0:
        return 0.0
    to_grid = inverse(on_grid.affine) @ label_map.affine  # voxel of the map -> voxel of the grid
    inside: NDArray[np.float32] = labelled.astype(np.float32)
    for axis, size in reversed(list(enumerate(label_map.shape))):
        towards = int(np.argmax(np.abs(to_grid[:3, axis])))
        step, start = to_grid[towards, axis], to_grid[towards, 3]
        edges = start + step * (np.arange(size + 1) - 0.5)
        within = np.clip(edges, -0.5, on_grid.shape[towards] - 0.5)
        inside = inside @ np.abs(np.diff(within) / step).astype(np.float32)
    return round(max(0.0, 1.0 - float(inside) / total), 4)
