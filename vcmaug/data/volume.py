"""A volume: an array [X, Y, Z] and the affine from its voxel indices to RAS+ millimetres.

Files become volumes in `nifti`, and volumes become files there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vcmaug.affine import apart_mm, orientation_of, spacing_of
from vcmaug.doors import Shown
from vcmaug.shapes import Shape3, as_shape3

__all__ = [
    "OnGrid",
    "Volume",
    "is_mask",
    "other_grid",
    "other_spacing",
    "other_voxels",
    "same_grid",
]

_APART = 0.1
"""Share of a voxel's shortest side by which the corners of one grid may differ: rounded headers."""


@dataclass(frozen=True)
class Volume(Shown):
    """An array [X, Y, Z] with its affine, 4x4, voxel index -> RAS+ mm."""

    array: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def shape(self) -> Shape3:
        """Voxels along each axis."""
        return as_shape3(self.array.shape)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along each axis, in mm."""
        return spacing_of(self.affine)

    @property
    def orientation(self) -> str:
        """Where the axes point, e.g. "RAS": the first towards the right, and so on."""
        return orientation_of(self.affine)

    @property
    def grid_in_words(self) -> str:
        """Shape, voxel size, orientation and place, for messages."""
        first = ", ".join(f"{place:.5g}" for place in self.affine[:3, 3])
        return f"{_voxels_in_words(self)}, the first at {first} mm"


class OnGrid(Protocol):
    """Anything that lies on a grid, wherever in the world."""

    @property
    def shape(self) -> Shape3:
        """Voxels along each axis."""
        ...

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along each axis."""
        ...

    @property
    def orientation(self) -> str:
        """Where the axes point."""
        ...


def _voxels_in_words(grid: OnGrid) -> str:
    """Return shape, voxel size and orientation."""
    shape, sides = "x".join(map(str, grid.shape)), "x".join(f"{mm:.6g}" for mm in grid.spacing_mm)
    return f"{shape} voxels of {sides} mm ({grid.orientation})"


def other_voxels(found: OnGrid, *, than: OnGrid) -> str:
    """Return how shape, voxel size or orientation differ, with numbers; empty where they do not.

    Sizes may differ by what makes a tenth of a voxel over the whole grid.

    Args:
        found: What is looked at.
        than: What is expected.
    """
    fits = found.shape == tuple(than.shape) and found.orientation == than.orientation
    if fits and not other_spacing(found.spacing_mm, than=than):
        return ""
    return f"found {_voxels_in_words(found)}, expected {_voxels_in_words(than)}"


def other_spacing(found_mm: Sequence[float], *, than: OnGrid) -> bool:
    """Return whether voxel sizes differ by more than a tenth of a voxel over a whole grid.

    Args:
        found_mm: Of the voxels that are looked at, along the axes of the grid.
        than: The grid.
    """
    grown_mm = [
        abs(mine - other) * (size - 1)
        for mine, other, size in zip(found_mm, than.spacing_mm, than.shape, strict=True)
    ]
    return max(grown_mm) > _APART * min(than.spacing_mm)


def same_grid(first: Volume, second: Volume) -> bool:
    """Return whether volumes share shape and place, within a tenth of a voxel at the corners."""
    return not other_grid(first, than=second)


def other_grid(volume: Volume, *, than: Volume) -> str:
    """Return how a volume's grid differs from another's, with numbers; empty where it does not.

    Args:
        volume: Whose grid is looked at.
        than: Whose grid is expected.

    Examples:
        >>> large, small = (Volume(np.zeros((2, 2, size)), np.eye(4)) for size in (3, 2))
        >>> other_grid(large, than=small).split("; ")[0]
        'found 2x2x3 voxels of 1x1x1 mm (RAS), the first at 0, 0, 0 mm'
    """
    corners = ""
    if volume.shape == than.shape:
        found_mm = apart_mm(volume.affine, than.affine, than.shape)
        most_mm = _APART * min(than.spacing_mm)
        if found_mm <= most_mm:
            return ""
        corners = f"; corners are up to {found_mm:.3g} mm apart, at most {most_mm:.2g} is allowed"
    return f"found {volume.grid_in_words}; expected {than.grid_in_words}{corners}"


def is_mask(volume: Volume) -> bool:
    """Return whether a volume holds zeros and ones alone."""
    return bool(np.isin(volume.array, (0, 1)).all())
