"""Parts and cavities of structures, and the mending of what resampling broke.

Builders compare the counts of a map with those of its source, remove specks, and refuse what is
still different.

Notes:
    Voxels that share a corner are neighbours, in a structure and in what it surrounds: an oblique
    plate one voxel thick is one part, and one cavity of the structure around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.shapes import padded_box

__all__ = [
    "NEIGHBOURS",
    "Parts",
    "apart",
    "between_parts",
    "counts_of",
    "mended",
    "nearest_others",
    "numbered",
    "parts_of",
    "same_topology",
]

Label = TypeVar("Label", bound=np.integer[Any])

_MOST_NUMBERS = 256  # of structures and their large parts
_FILLED_FROM = 4  # voxels around a part from which a gap takes its label
NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
"""Voxels that share a corner."""


@dataclass(frozen=True)
class Parts:
    """Voxels of each part and of each cavity of one structure."""

    parts: NDArray[np.int64]
    cavities: NDArray[np.int64]

    @property
    def volume(self) -> int:
        """Voxels of the structure."""
        return int(self.parts.sum())


def parts_of(indices: NDArray[np.uint8], num_structures: int) -> list[Parts]:
    """Return the parts and cavities of each structure.

    Args:
        indices: Channel numbers from 1, 0 for the background, [X, Y, Z].
        num_structures: K.
    """
    none = np.zeros(0, dtype=np.int64)
    found = []
    for k, box in enumerate(ndimage.find_objects(indices, max_label=num_structures), start=1):
        if box is None:
            found.append(Parts(none, none))
            continue
        inside = np.pad(indices[box] == k, 1)
        around = _sizes(~inside, first_is_outside=True)
        found.append(Parts(_sizes(inside), around))
    return found


def _sizes(mask: NDArray[np.bool_], *, first_is_outside: bool = False) -> NDArray[np.int64]:
    """Return the voxels of each part of a mask, without the part in the corner if so asked."""
    labels, sizes = _labelled(mask)
    if first_is_outside:
        sizes[labels[0, 0, 0]] = 0
    return sizes[sizes > 0]


def _labelled(mask: NDArray[np.bool_]) -> tuple[NDArray[np.signedinteger[Any]], NDArray[np.int64]]:
    """Return the number of the part that each voxel lies in, 0 outside, and the parts' voxels."""
    labels, _ = ndimage.label(mask, NEIGHBOURS)
    sizes = np.bincount(labels.ravel()).astype(np.int64)
    sizes[0] = 0
    return labels, sizes


def counts_of(found: Sequence[Parts]) -> NDArray[np.int64]:
    """Return how many parts and cavities each structure has, int64 [K, 2]."""
    return np.array([[len(one.parts), len(one.cavities)] for one in found], dtype=np.int64)


def same_topology(before: Sequence[Parts], after: Sequence[Parts], *, specks: float) -> bool:
    """Return whether every structure has as many parts and cavities as before.

    Args:
        before: Of the one map.
        after: Of the other.
        specks: Parts and cavities below this share of a structure do not count. One that is within
            a factor of two of it may or may not: what it is hangs on a few voxels.
    """
    for old, new in zip(before, after, strict=True):
        limit = specks * old.volume
        for first, second in ((old.parts, new.parts), (old.cavities, new.cavities)):
            least, most = (int((first >= factor * limit).sum()) for factor in (2.0, 0.5))
            if not least <= int((second >= limit).sum()) <= most:
                return False
    return True


def numbered(
    indices: NDArray[np.uint8], num_structures: int, *, least: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a map whose large parts have numbers of their own, and the structure of each number.

    The largest part of a structure keeps its channel number, and so do specks.

    Args:
        indices: Channel numbers from 1, 0 for the background, [X, Y, Z].
        num_structures: K.
        least: Share of a structure from which a part is large.
    """
    result, owners = indices.copy(), list(range(num_structures + 1))
    for k, box in enumerate(ndimage.find_objects(indices, max_label=num_structures), start=1):
        if box is None:
            continue
        labels, sizes = _labelled(indices[box] == k)
        large = np.flatnonzero(sizes >= max(1.0, least * sizes.sum()))
        for part in sorted(large, key=lambda part: -int(sizes[part]))[1 : _MOST_NUMBERS // 8]:
            if len(owners) < _MOST_NUMBERS:
                result[box][labels == part] = len(owners)
                owners.append(k)
    return result, np.array(owners, dtype=np.uint8)


def apart(numbers: NDArray[np.uint8], owners: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return channel numbers of a map as `numbered` made it, once its parts were moved.

    Where two parts of one structure have come to touch, the voxels of the larger one that touch
    take the nearest other structure.
    """
    indices: NDArray[np.uint8] = owners[numbers]
    for number in range(len(set(owners.tolist())), len(owners)):
        box = ndimage.find_objects((numbers == number).astype(np.uint8))
        if not box:
            continue
        near = padded_box(box[0], numbers.shape, by=_FILLED_FROM)
        around = ndimage.binary_dilation(numbers[near] == number, NEIGHBOURS)
        own = indices[near] == owners[number]
        touching = around & own & (numbers[near] < number)
        if touching.any() and not own.all():
            indices[near][touching] = nearest_others(indices[near], own)[touching]
    return indices


def between_parts(inside: NDArray[np.bool_], *, least: float) -> NDArray[np.bool_]:
    """Return the voxels between the large parts of a structure, which would join them.

    Args:
        inside: Voxels of the structure [X, Y, Z].
        least: Share of it from which a part is large.
    """
    labels, sizes = _labelled(inside)
    labels[np.isin(labels, np.flatnonzero(sizes < least * sizes.sum()))] = 0
    if not labels.any():
        return np.zeros(inside.shape, dtype=bool)
    nearest = nearest_others(labels, labels == 0)
    joins: NDArray[np.bool_] = ndimage.maximum_filter(nearest, 3) != ndimage.minimum_filter(
        nearest, 3
    )
    return joins & ~inside


def mended(
    indices: NDArray[np.uint8], wanted: NDArray[np.int64], *, most: float = 0.01
) -> NDArray[np.uint8]:
    """Return a map without the specks that make it differ from wanted counts.

    The smallest parts beyond the number wanted take the label around them, the smallest cavities
    beyond it the structure's own.

    Args:
        indices: Channel numbers [X, Y, Z].
        wanted: Parts and cavities [K, 2], from `counts_of`.
        most: Share of a structure above which a part is no speck and stays.
    """
    result = indices.copy()
    for k, (parts, cavities) in enumerate(wanted, start=1):
        box = ndimage.find_objects((result == k).astype(np.uint8))
        if not box:
            continue
        near = padded_box(box[0], result.shape, by=1)
        crop = result[near]
        inside = np.pad(crop == k, 1)
        limit = most * np.count_nonzero(inside)
        specks = _smallest(inside, keep=int(parts), most=limit)[1:-1, 1:-1, 1:-1]
        if specks.any():
            crop[specks] = nearest_others(crop, specks)[specks]
        holes = _smallest(~inside, keep=int(cavities) + 1, most=limit)[1:-1, 1:-1, 1:-1]
        crop[holes] = k
    return result


def _smallest(mask: NDArray[np.bool_], *, keep: int, most: float) -> NDArray[np.bool_]:
    """Return the parts of a mask beyond the largest `keep`, those of at most so many voxels."""
    labels, sizes = _labelled(mask)
    order = np.argsort(sizes[1:], kind="stable")[: max(0, len(sizes) - 1 - keep)] + 1
    return np.isin(labels, order[sizes[order] <= most])


def nearest_others(
    indices: NDArray[Label], removed: NDArray[np.bool_], spacing_mm: Any = (1.0, 1.0, 1.0)
) -> NDArray[Label]:
    """Return a map where removed voxels take the label of the nearest voxel that is not removed."""
    places = ndimage.distance_transform_edt(
        removed, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    filled: NDArray[Label] = indices[tuple(places)]
    return filled
