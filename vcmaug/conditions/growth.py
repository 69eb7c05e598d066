"""Structures grown and shrunk to volumes by a flow that takes image and neighbours along.

In many small steps everything moves along the outward normals of the structures as they are by
then, less with the distance from them, not at all at the outline of what is labelled. Neighbours
are pushed and thinned, and none is overwritten.

References:
    Christensen et al. 1996, IEEE Trans Image Process 5 (large deformations as a flow of smoothed
    velocities, followed in small steps).

Notes:
    A volume is the sum of shares: of the structure's voxels, linearly interpolated where the flow
    looks them up. Each step is as long as the flux of its velocity through the outline says,
    so the last ones are short and end within `_CLOSE` of the volume.

    Velocities are smoothed, so that fronts on both sides of a thin wall cancel: with 0 or 2 mm
    the wall folds where ventricles of 19 ml grow to 150, with 3 mm and more it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.resize import Side, side_weights
from vcmaug.data.deformation import Field, integrate, least_jacobian, looked_up
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.volume import Volume

__all__ = ["Flow", "Goal", "Growth", "flow_to"]

_CLOSE = 0.004  # of a volume
_NEARER = 0.99  # of what was missing one step earlier, or the flow has come to its end
_MOST_STEPS = 60
_LONGEST = 1.0  # voxel, of a step
_SQUARINGS = 2
_SMOOTH_VOXELS = 1.0  # of the distances whose slope is the normal
_DEEP_MM = 14.0  # under the outline that is held, beyond which it is not felt


@dataclass(frozen=True)
class Flow:
    """How a flow decays.

    Attributes:
        decay_mm: Outside, the velocity falls as exp(-distance / decay_mm).
        smoothness_mm: Sigma of the Gaussian on the velocity.
        hold_outline: Nothing moves at the outline of all that is labelled.
    """

    decay_mm: float
    smoothness_mm: float
    hold_outline: bool


@dataclass(frozen=True)
class Goal:
    """A structure and its volume afterwards; of one side, where that is asked.

    Attributes:
        value: Of the structure in label maps.
        volume_mm3: What is wanted.
        side: Of the body.
    """

    value: int
    volume_mm3: float
    side: Side = "both"


@dataclass(frozen=True, eq=False)
class Growth:
    """A flow that was followed to its end.

    Attributes:
        displacement: The deformed volume at voxel v is the source at v + displacement(v), float32
            [3, X, Y, Z], voxels.
        volumes_mm3: Reached, by goal.
        steps: How many.
        least_jacobian: Above 0 where nothing folds.
    """

    displacement: Field
    volumes_mm3: tuple[float, ...]
    steps: int
    least_jacobian: float


def flow_to(goals: Sequence[Goal], volume: Volume, *, flow: Flow) -> Growth:
    """Return the flow that brings structures to their volumes, or as near as it comes.

    Args:
        goals: At least one; two may share a structure, on two sides.
        volume: A label map; 0 is the background.
        flow: How it decays.
    """
    array, spacing_mm = volume.array, volume.spacing_mm
    sides = [np.broadcast_to(side_weights(volume, one.side), volume.shape) for one in goals]
    masks = np.stack([(array == one.value).astype(np.float32) for one in goals])
    voxel_mm3, wanted = float(np.prod(spacing_mm)), np.array([one.volume_mm3 for one in goals])
    held = _held(array > 0, spacing_mm) if flow.hold_outline else np.float32(1.0)
    displacement, shares = np.zeros((3, *volume.shape), dtype=np.float32), masks
    gaps: list[NDArray[np.float64]] = []
    for _ in range(_MOST_STEPS + 1):
        counted = shares * (np.stack(sides) > 0.5)
        gaps.append(wanted - voxel_mm3 * counted.sum(axis=(1, 2, 3), dtype=np.float64))
        is_close = np.abs(gaps[-1]) <= _CLOSE * wanted
        stands = len(gaps) > 1 and (np.abs(gaps[-1]) >= _NEARER * np.abs(gaps[-2])).all()
        if is_close.all() or stands:
            break
        velocity = sum(
            _velocity(share, side * held, gap, spacing_mm, flow=flow)
            for share, side, gap in zip(shares, sides, gaps[-1], strict=True)
        )
        moved = -integrate(np.asarray(velocity), volume.shape, num_squarings=_SQUARINGS)
        displacement = moved + looked_up(displacement, moved)
        shares = looked_up(masks, displacement)
    reached, least = wanted - gaps[-1], least_jacobian(displacement, volume.shape)
    return Growth(displacement, tuple(reached.tolist()), len(gaps) - 1, least)


def _velocity(
    share: NDArray[np.float32],
    weights: NDArray[np.float32],
    missing_mm3: float,
    spacing_mm: tuple[float, float, float],
    *,
    flow: Flow,
) -> Field:
    """Return the velocity [3, X, Y, Z] in voxels that wins a volume, or loses it, in one step.

    Args:
        share: Of each voxel, which the structure has.
        weights: Between 0 and 1; 0 where nothing moves.
        missing_mm3: Negative where it is to shrink.
        spacing_mm: Voxel size.
        flow: How it decays.
    """
    spacing = np.asarray(spacing_mm, dtype=np.float32).reshape(3, 1, 1, 1)
    inside = share >= min(0.5, 0.5 * float(share.max()))
    if not inside.any() or inside.all():
        return np.zeros((3, *share.shape), dtype=np.float32)
    away_mm = signed_distance_mm(inside, spacing_mm, smooth_voxels=_SMOOTH_VOXELS)
    normal = np.asarray(np.gradient(away_mm, *spacing_mm), dtype=np.float32)
    outside = np.exp(-np.maximum(away_mm, 0.0) / flow.decay_mm).astype(np.float32)
    sigmas = [flow.smoothness_mm / size for size in spacing_mm]
    smooth = np.stack([ndimage.gaussian_filter(part * outside, sigmas) for part in normal])
    velocity: Field = smooth * weights
    outwards = -np.asarray(np.gradient(share, *spacing_mm), dtype=np.float32)
    flux_mm2 = float((velocity * outwards).sum(dtype=np.float64)) * float(np.prod(spacing_mm))
    longest = float(np.sqrt(((velocity / spacing) ** 2).sum(axis=0)).max())
    most = _LONGEST / max(longest, 1e-6)
    by_mm = min(max(missing_mm3 / max(flux_mm2, 1e-6), -most), most)
    moved: Field = (by_mm * velocity / spacing).astype(np.float32)
    return moved


def _held(labelled: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """Return 0 outside of all that is labelled, growing to 1 deep in it, float32 [X, Y, Z]."""
    filled = ndimage.binary_fill_holes(labelled)
    depth_mm = ndimage.distance_transform_edt(filled, sampling=spacing_mm)
    return np.clip(depth_mm / _DEEP_MM, 0.0, 1.0).astype(np.float32)
