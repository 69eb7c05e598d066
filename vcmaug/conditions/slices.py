"""Thick slices along an axis: their weights on voxels, and the weights back to the voxels."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["slice_weights", "weights_of_slices"]

_FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))  # of a Gaussian of deviation 1


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
