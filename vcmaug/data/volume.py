"""A volume: an array [X, Y, Z] and the affine from its voxel indices to RAS+ millimetres.

Files become volumes in `nifti`, and volumes become files there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmaug.affine import orientation_of, spacing_of
from vcmaug.doors import Shown
from vcmaug.shapes import Shape3, as_shape3

__all__ = ["Volume", "is_mask", "same_grid"]


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


def same_grid(first: Volume, second: Volume) -> bool:
    """Return whether two volumes share shape and affine (within a thousandth of a mm)."""
    return first.shape == second.shape and np.allclose(first.affine, second.affine, atol=1e-3)


def is_mask(volume: Volume) -> bool:
    """Return whether a volume holds zeros and ones alone."""
    return bool(np.isin(volume.array, (0, 1)).all())
