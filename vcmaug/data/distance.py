"""The signed distance to the outline of a mask.

Outlines are moved, averaged and pushed along it, and blends fade along it.

References:
    Felzenszwalb and Huttenlocher 2012, Theory of Computing (exact distances), in SciPy.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["signed_distance_mm"]


def signed_distance_mm(
    inside: NDArray[np.bool_], spacing_mm: Sequence[float], *, smooth_voxels: float = 0.0
) -> NDArray[np.float64]:
    """Return the distance to a mask's outline, negative inside, float64 [X, Y, Z].

    Args:
        inside: The mask, with voxels inside and outside.
        spacing_mm: Voxel size.
        smooth_voxels: Sigma of a Gaussian on the distances, so that few voxels share one.
    """
    outwards = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    inwards = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    half = 0.5 * float(np.mean(spacing_mm))  # distances are between centres of voxels
    signed = outwards - inwards - np.where(inside, -half, half)
    if smooth_voxels > 0:
        signed = ndimage.gaussian_filter(signed, smooth_voxels)
    return signed
