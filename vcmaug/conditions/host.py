"""A host while lesions are put into it: its label map, where lesions are, and what was placed."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.atlas import Lesion
from vcmaug.conditions.mass_effect import pushed_aside
from vcmaug.conditions.placement import Placed
from vcmaug.conditions.topology import nearest_others
from vcmaug.data.labels import LabelScheme, index_map
from vcmaug.data.volume import Volume
from vcmaug.shapes import Box, padded_box

__all__ = ["Host", "host_of"]


@dataclass
class Host:
    """A host while lesions are put into it.

    Attributes:
        indices: Channel numbers [X, Y, Z].
        lesions: Where one is, its own among them [X, Y, Z].
        channels: Channel number of each class of a lesion, the background first.
        volume: Its label map as it was.
        head_mm: Corners of all labels in world millimetres, [2, 3].
        placed: What was recorded of each lesion.
        donors: Whose each lesion is.
        refused: How often each rule refused one.
    """

    indices: NDArray[np.uint8]
    lesions: NDArray[np.bool_]
    channels: NDArray[np.uint8]
    volume: Volume
    head_mm: NDArray[np.float64]
    placed: list[dict[str, Any]] = field(default_factory=list)
    donors: list[str] = field(default_factory=list)
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
        within = tuple(
            slice(part.start - around.start, part.stop - around.start)
            for part, around in zip(box, near, strict=True)
        )
        return bool((inside & (away_mm[within] <= gap_mm)).any())

    def write(
        self, placed: Placed, lesion: Lesion, drawn: dict[str, Any], *, mass_effect: float
    ) -> None:
        """Write a lesion into the map, after pushing the tissue aside if asked."""
        if mass_effect > 0:
            self.indices = pushed_aside(
                self.indices, placed, strength=mass_effect, spacing_mm=self.volume.spacing_mm
            )
            self.lesions = np.isin(self.indices, self.channels[1:])
        inside = placed.classes > 0
        self.indices[placed.box][inside] = self.channels[placed.classes[inside]]
        self.lesions[placed.box] |= inside
        self.placed.append(
            {"lesion": lesion.lesion_id, "voxels": int(np.count_nonzero(inside)), **drawn}
        )
        self.donors.append(lesion.subject_id)


def host_of(volume: Volume, scheme: LabelScheme, *, channels: list[int], keep_own: bool) -> Host:
    """Return a label map as a host.

    Args:
        volume: Values of the scheme.
        scheme: Of the label map.
        channels: Channel number of each class of a lesion.
        keep_own: Whether lesions that are there stay; if not, the tissue around fills them.
    """
    indices = index_map(volume.array, scheme)
    lesions = np.isin(indices, channels)
    if not keep_own and lesions.any():
        indices = nearest_others(indices, lesions, volume.spacing_mm)
        lesions = np.zeros_like(lesions)
    by_class = np.array([0, *channels], dtype=np.uint8)
    return Host(indices, lesions, by_class, volume, _head_box(volume))


def _head_box(volume: Volume) -> NDArray[np.float64]:
    """Return the lower and upper corner of all labels in world millimetres, [2, 3]."""
    box = ndimage.find_objects((volume.array > 0).astype(np.uint8))[0]
    ends = np.array([[part.start, part.stop - 1] for part in box], dtype=float).T  # [2, 3]
    world = ends @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return np.stack([world.min(axis=0), world.max(axis=0)])
