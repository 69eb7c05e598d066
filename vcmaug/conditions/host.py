"""A host while lesions are put into it: its label map, where lesions are, and what was placed.

A lesion that takes room can push the tissue around it aside (mass effect): labels move outwards
along the distance from the lesion, before it is written into the map. The displacement follows from
keeping the volume of a ball's surroundings.

Notes:
    A ball of radius R that grew from a point moves a voxel at distance r from its centre to
    (r^3 + R^3)^(1/3). Looked up backwards, the label at r was at (r^3 - R^3)^(1/3). For another
    shape, r is the radius R of a ball of its volume plus the distance to its outline. The outline
    of the head stays.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy import ndimage

from vcmaug.affine import moved_points
from vcmaug.conditions.atlas import Lesion
from vcmaug.conditions.placement import Placed
from vcmaug.conditions.topology import nearest_others
from vcmaug.data.distance import signed_distance_mm
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.shapes import Box, box_within, padded_box

__all__ = ["Host", "host_of", "pushed_aside"]

_REACH = 3.0  # in radii; the push fades over the last of them and ends there
_SMOOTH_VOXELS = 1.0


@dataclass
class Host:
    """A host while lesions are put into it.

    Attributes:
        indices: Channel numbers [X, Y, Z].
        lesions: Where one is, its own among them [X, Y, Z].
        channels: Channel number of each class of a lesion, the background first.
        volume: Its label map as it was.
        head_mm: Corners of all labels in world millimetres, [2, 3].
        placed: The lesions that were written.
        records: What is recorded of each.
        refused: How often each rule refused one.
    """

    indices: NDArray[np.uint8]
    lesions: NDArray[np.bool_]
    channels: NDArray[np.uint8]
    volume: Volume
    head_mm: NDArray[np.float64]
    placed: list[Lesion] = field(default_factory=list)
    records: list[Mapping[str, JsonValue]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def touches(self, inside: NDArray[np.bool_], box: Box, *, gap_mm: float) -> bool:
        """Return whether a lesion lies within a gap of one that is there already."""
        if gap_mm <= 0:
            return bool((inside & self.lesions[box]).any())
        by = math.ceil(gap_mm / min(self.volume.spacing_mm))
        near = padded_box(box, self.lesions.shape, by=by)
        others = self.lesions[near]
        if not others.any():
            return False
        away_mm = ndimage.distance_transform_edt(~others, sampling=self.volume.spacing_mm)
        return bool((inside & (away_mm[box_within(box, near)] <= gap_mm)).any())

    def write(
        self,
        placed: Placed,
        lesion: Lesion,
        drawn: Mapping[str, JsonValue],
        *,
        mass_effect: float,
    ) -> None:
        """Write a lesion into the map, after pushing the tissue aside if asked.

        Args:
            placed: Its voxels.
            lesion: Of the atlas.
            drawn: What is recorded of its place.
            mass_effect: Share of its volume that is pushed aside.
        """
        if mass_effect > 0:
            self.indices = pushed_aside(
                self.indices, placed, strength=mass_effect, spacing_mm=self.volume.spacing_mm
            )
            self.lesions = np.isin(self.indices, self.channels[1:])
        inside = placed.classes > 0
        self.indices[placed.box][inside] = self.channels[placed.classes[inside]]
        self.lesions[placed.box] |= inside
        voxels = int(np.count_nonzero(inside))
        self.placed.append(lesion)
        self.records.append({"lesion": lesion.lesion_id, "voxels": voxels, **drawn})


def host_of(
    volume: Volume, scheme: LabelScheme, *, channels: Sequence[int], keep_own: bool
) -> Host:
    """Return a label map as a host.

    Args:
        volume: Values of the scheme.
        scheme: Of the label map.
        channels: Channel number of each class of a lesion.
        keep_own: Whether lesions that are there stay; if not, the tissue around fills them.
    """
    indices = scheme.channels(volume.array)
    lesions = np.isin(indices, channels)
    if not keep_own and lesions.any():
        indices = nearest_others(indices, lesions, volume.spacing_mm)
        lesions = np.zeros_like(lesions)
    box = ndimage.find_objects((volume.array > 0).astype(np.uint8))[0]
    ends = np.array([[part.start, part.stop - 1] for part in box], dtype=float).T  # [2, 3]
    corners_mm = moved_points(volume.affine, ends)
    head_mm = np.stack([corners_mm.min(axis=0), corners_mm.max(axis=0)])
    return Host(indices, lesions, np.array([0, *channels], dtype=np.uint8), volume, head_mm)


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
    by = math.ceil(_REACH * radius_mm / float(spacing.min()))
    near = padded_box(lesion.box, indices.shape, by=by)
    crop = indices[near]
    inside = np.zeros(crop.shape, dtype=bool)
    inside[box_within(lesion.box, near)] = lesion.classes > 0
    away_mm = signed_distance_mm(inside, spacing_mm, smooth_voxels=_SMOOTH_VOXELS)
    r = np.maximum(away_mm + radius_mm, 0.0)
    back = r - np.cbrt(np.maximum(r**3 - strength * radius_mm**3, 0.0))
    back *= np.clip(_REACH - r / radius_mm, 0.0, 1.0)
    slope = np.stack(list(np.gradient(away_mm, *spacing.tolist())))
    slope /= np.maximum(np.sqrt((slope**2).sum(axis=0)), 1e-6)
    places = np.indices(crop.shape) - back * slope / spacing.reshape(3, 1, 1, 1)
    moved = ndimage.map_coordinates(crop, places, order=0, mode="nearest")
    result = indices.copy()
    result[near] = np.where((crop > 0) & (moved > 0), moved, crop)
    return result
