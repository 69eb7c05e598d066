"""A volume: an array and where it lies in the world.

What it is: array [X, Y, Z] plus the affine from voxel indices to RAS+ millimetres.
In the flow: what nibabel's files become on the way in and are made from on the way out.
Sources: nibabel's documentation of coordinate systems.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmaug.shapes import Shape3, as_shape3

__all__ = ["Volume", "orientation_of", "same_grid", "spacing_of"]

_POSITIVE, _NEGATIVE = "RAS", "LPI"


@dataclass(frozen=True)
class Volume:
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


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the voxel size along each array axis, in mm, of an affine [4, 4]."""
    first, second, third = np.linalg.norm(affine[:3, :3], axis=0)
    return float(first), float(second), float(third)


def orientation_of(affine: NDArray[np.float64]) -> str:
    """Return the world axis that each array axis is nearest to, as three letters.

    Examples:
        >>> orientation_of(np.diag([-1.0, 1.0, 1.0, 1.0]))
        'LAS'
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    letters = [""] * 3
    free = [0, 1, 2]  # world axes
    for axis in np.argsort(-np.abs(directions).max(axis=0)):  # the clearest axis first
        world = max(free, key=lambda row: abs(directions[row, axis]))
        free.remove(world)
        letters[axis] = (_POSITIVE if directions[world, axis] > 0 else _NEGATIVE)[world]
    return "".join(letters)


def same_grid(first: Volume, second: Volume) -> bool:
    """Return whether two volumes share shape and affine (within a thousandth of a mm)."""
    return first.shape == second.shape and np.allclose(first.affine, second.affine, atol=1e-3)
