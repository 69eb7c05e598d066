"""Structures grown and shrunk to a volume, on both sides of the body or on one.

An outline moves along the signed distance until exactly so many voxels lie within.

References:
    Osher and Sethian 1988, J Comput Phys (an outline as a level of a distance function).

Notes:
    Voxels join or leave in the order of their distance to the outline, so any volume is reached to
    the voxel. On one side only, distances grow with the depth of the other side, and the outline
    runs back into the old one across the middle without a step.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.topology import between_parts, nearest_others
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.shapes import padded_box

__all__ = ["Side", "resized", "side_voxels", "side_weights"]

Side = Literal["both", "left", "right"]

_SMOOTH_VOXELS = 0.7  # of the distances, so that few voxels share one
_RAMP_MM = 3.0  # across the middle, from one side to the other
_LEAST_WEIGHT = 0.02


def side_weights(volume: Volume, side: Side) -> NDArray[np.float32]:
    """Return 1 on a side of the body and near 0 on the other, float32 broadcastable to [X, Y, Z].

    The middle is the middle of everything that has a label.

    Args:
        volume: A label map; its affine says where right is.
        side: `both` gives 1 everywhere.

    Raises:
        DataError: No axis of the map points right or left.
    """
    if side == "both":
        return np.ones((1, 1, 1), dtype=np.float32)
    axis = next((k for k, name in enumerate(volume.orientation) if name in "RL"), None)
    if axis is None:
        raise DataError(
            f"changing the {side} side: the map is oriented {volume.orientation}; expected an axis "
            "towards right or left. Prepare the data with orientation RAS."
        )
    labelled = np.flatnonzero(volume.array.any(axis=tuple(k for k in range(3) if k != axis)))
    middle = (labelled[0] + labelled[-1]) / 2 if len(labelled) else volume.shape[axis] / 2
    offset_mm = (np.arange(volume.shape[axis]) - middle) * volume.spacing_mm[axis]
    towards = 1.0 if (volume.orientation[axis] == "R") == (side == "right") else -1.0
    weights = 1.0 / (1.0 + np.exp(np.clip(-towards * offset_mm / _RAMP_MM * 4.0, -50, 50)))
    shape = [-1 if k == axis else 1 for k in range(3)]
    return np.asarray(weights, dtype=np.float32).reshape(shape)


def side_voxels(indices: NDArray[np.uint8], channel: int, weights: NDArray[np.float32]) -> int:
    """Return how many voxels a structure has on the side that weights choose."""
    chosen: NDArray[np.bool_] = np.logical_and(indices == channel, weights > 0.5)
    return int(chosen.sum())


def resized(
    indices: NDArray[np.uint8],
    channel: int,
    *,
    by: int,
    spacing_mm: tuple[float, float, float],
    weights: NDArray[np.float32],
    apart: float | None = None,
) -> NDArray[np.uint8]:
    """Return a map whose structure has more or fewer voxels; neighbours give way or follow.

    Args:
        indices: Channel numbers [X, Y, Z].
        channel: Of the structure.
        by: Voxels to win on the side that weights choose, or to lose where negative.
        spacing_mm: Voxel size.
        weights: From `side_weights`.
        apart: Share of the structure from which its parts must not grow together; None: they may.
    """
    box = ndimage.find_objects((indices == channel).astype(np.uint8))
    if not box or by == 0:
        return indices
    near = padded_box(box[0], indices.shape, by=_margin(box[0], by))
    crop = indices[near]
    inside = crop == channel
    weight = np.broadcast_to(weights, indices.shape)[near]
    away_mm = signed_distance_mm(inside, spacing_mm, smooth_voxels=_SMOOTH_VOXELS)
    distance = away_mm / np.maximum(weight, _LEAST_WEIGHT)
    result = indices.copy()
    among = weight > _LEAST_WEIGHT
    if by > 0:
        joins = False if apart is None else between_parts(inside, least=apart)
        free = among & ~inside & ~np.asarray(joins)
        chosen = _first(distance, free, by, counted=weight > 0.5)
        result[near][chosen] = channel  # a view of result, since near is made of slices
    else:
        chosen = _first(-distance, inside & among, -by, counted=weight > 0.5)
        others = nearest_others(crop, inside, spacing_mm)
        result[near][chosen] = others[chosen]
    return result


def _margin(box: Sequence[slice], by: int) -> int:
    """Return how far in voxels an outline may move out: a box of the new volume, and some more."""
    voxels = math.prod(int(part.stop - part.start) for part in box)
    extent = max(int(part.stop - part.start) for part in box)
    return 3 + math.ceil(extent * max(by, 0) / voxels)


def _first(
    order: NDArray[np.float64],
    among: NDArray[np.bool_],
    count: int,
    *,
    counted: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return as a mask the voxels that come first, until so many of those counted are in it."""
    places = np.flatnonzero(among)
    places = places[np.argsort(order.ravel()[places], kind="stable")]
    last = np.searchsorted(np.cumsum(counted.ravel()[places]), count)
    mask = np.zeros(among.size, dtype=bool)
    mask[places[: last + 1]] = True
    return mask.reshape(among.shape)
