"""Mass effect: a lesion that takes room pushes the tissue around it aside.

Labels move outwards along the distance from the lesion, before it is written into the map. The
displacement follows from keeping the volume of a ball's surroundings.

Notes:
    A ball of radius R that grew from a point moves a voxel at distance r from its centre to
    (r^3 + R^3)^(1/3). Looked up backwards, the label at r was at (r^3 - R^3)^(1/3). For another
    shape, r is the radius R of a ball of its volume plus the distance to its outline. The outline
    of the head stays.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.placement import Placed
from vcmaug.data.distance import signed_distance_mm
from vcmaug.shapes import padded_box

__all__ = ["pushed_aside"]

_REACH = 3.0  # in radii; the push fades over the last of them and ends there
_SMOOTH_VOXELS = 1.0


def pushed_aside(
    indices: NDArray[np.uint8],
    lesion: Placed,
    *,
    strength: float,
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.uint8]:
    """Return a map whose labels have made room for a lesion.

    Args:
        indices: Channel numbers [X, Y, Z].
        lesion: Where it will lie.
        strength: Share of the lesion's volume that is pushed aside and not replaced, in [0, 1].
        spacing_mm: Voxel size.
    """
    spacing = np.asarray(spacing_mm)
    voxels = np.count_nonzero(lesion.classes)
    radius_mm = (3 * voxels * float(spacing.prod()) / (4 * math.pi)) ** (1 / 3)
    near = padded_box(
        lesion.box, indices.shape, by=math.ceil(_REACH * radius_mm / float(spacing.min()))
    )
    inside = np.zeros(indices.shape, dtype=bool)[near]
    inside[_within(lesion, near)] = lesion.classes > 0
    away_mm = signed_distance_mm(inside, spacing_mm, smooth_voxels=_SMOOTH_VOXELS)
    r = np.maximum(away_mm + radius_mm, 0.0)
    back = r - np.cbrt(np.maximum(r**3 - strength * radius_mm**3, 0.0))
    back *= np.clip(_REACH - r / radius_mm, 0.0, 1.0)
    slope = np.stack(list(np.gradient(away_mm, *spacing.tolist())))
    slope /= np.maximum(np.sqrt((slope**2).sum(axis=0)), 1e-6)
    shift = back * slope / spacing.reshape(3, 1, 1, 1)
    crop = indices[near]
    places = np.indices(crop.shape) - shift
    moved = ndimage.map_coordinates(crop, places, order=0, mode="nearest")
    result = indices.copy()
    result[near] = np.where((crop > 0) & (moved > 0), moved, crop)
    return result


def _within(lesion: Placed, near: tuple[slice, slice, slice]) -> tuple[slice, ...]:
    """Return a lesion's box in coordinates of a larger one."""
    return tuple(
        slice(part.start - around.start, part.stop - around.start)
        for part, around in zip(lesion.box, near, strict=True)
    )
