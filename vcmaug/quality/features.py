"""Descriptors of volumes for distances between sets; no download, no training.

Mean, spread and gradient of intensity in 1 + 8 blocks: layout, contrast and texture, and nothing
else. A distance in them is read against the real-vs-real row beside it, never on its own.

References:
    Lazebnik et al., "Beyond bags of features", 2006 (spatial pyramids), here in three dimensions.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "describe", "standardised"]

Rows = NDArray[np.float64]
"""Descriptors of images [N, D]."""


def describe(images: NDArray[np.float32]) -> Rows:
    """Return descriptors [N, 36] of images [N, X, Y, Z] in [0, 1]."""
    return np.stack([_describe_one(image) for image in images])


def _describe_one(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the descriptor of one image: four numbers for the whole and for each octant."""
    slopes = np.gradient(image.astype(np.float64))
    gradient = np.sqrt(sum(slope**2 for slope in slopes))
    second = sum(np.abs(np.gradient(slope, axis=axis)) for axis, slope in enumerate(slopes))
    halves = [(slice(None, size // 2), slice(size // 2, None)) for size in image.shape]
    blocks = [(slice(None),) * 3]
    blocks += [(a, b, c) for a in halves[0] for b in halves[1] for c in halves[2]]
    numbers = [
        (image[block].mean(), image[block].std(), gradient[block].mean(), second[block].mean())
        for block in blocks
    ]
    return np.asarray(numbers, dtype=np.float64).reshape(-1)


def standardised(reference: Rows, *others: Rows) -> tuple[Rows, ...]:
    """Return all sets in units of the reference's mean and deviation per column."""
    mean, deviation = reference.mean(axis=0), reference.std(axis=0) + 1e-9
    return tuple((rows - mean) / deviation for rows in (reference, *others))
