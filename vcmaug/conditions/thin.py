"""Thin structures under a deformation: those that nearest-voxel lookup would thin out.

`perturb` chooses the voxels of thin structures by their shares instead.

Notes:
    A plate one voxel thick that is pressed to nine tenths of its thickness falls between two
    lookups over whole patches, since smooth fields move neighbours alike. Its expected volume is
    the sum of its shares by linear interpolation; the voxels of the largest shares make it up.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.topology import nearest_others
from vcmaug.shapes import as_shape3, padded_box

__all__ = ["thin_structures", "with_shares"]

_THIN = 0.25  # share of voxels with six neighbours of the same label, below which it is thin


def thin_structures(indices: NDArray[np.uint8], num_structures: int) -> list[int]:
    """Return the channels of thin structures, the largest first.

    Args:
        indices: Channel numbers [X, Y, Z].
        num_structures: K.
    """
    inner = np.ones(indices.shape, dtype=bool)
    for axis in range(3):
        first, last = [slice(None)] * 3, [slice(None)] * 3
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        same = indices[tuple(first)] == indices[tuple(last)]
        inner[tuple(first)] &= same
        inner[tuple(last)] &= same
    counts = np.bincount(indices.ravel(), minlength=num_structures + 1)
    inside = np.bincount(indices[inner], minlength=num_structures + 1)
    thin = [k for k in range(1, num_structures + 1) if inside[k] < _THIN * counts[k]]
    return sorted(thin, key=lambda k: -int(counts[k]))


def with_shares(
    deformed: NDArray[np.uint8],
    start: NDArray[np.uint8],
    displacement: NDArray[np.float32],
    channel: int,
) -> NDArray[np.uint8]:
    """Return a deformed map in which one structure has the voxels of its largest shares.

    Args:
        deformed: Channel numbers after the deformation [X, Y, Z].
        start: Before it.
        displacement: The deformation [3, X, Y, Z], voxels.
        channel: Of the structure.
    """
    mask = start == channel
    reach = int(np.ceil(np.abs(displacement).max())) + 2
    box = padded_box(ndimage.find_objects(mask.astype(np.uint8))[0], start.shape, by=reach)
    offset = np.array([part.start for part in box]).reshape(3, 1, 1, 1)
    moved = displacement[(slice(None), *box)]
    places = np.indices(as_shape3(moved.shape[1:])) + offset + moved
    share = ndimage.map_coordinates(mask.astype(np.float32), places, order=1, mode="nearest")
    crop = deformed[box]
    now = crop == channel
    count = round(float(share.sum()))
    order = np.argsort(-(share + 0.25 * now).ravel(), kind="stable")[:count]  # keep what is there
    chosen = np.zeros(crop.size, dtype=bool)
    chosen[order] = True
    chosen = chosen.reshape(crop.shape) & (share > 0)
    result = deformed.copy()
    near = result[box]
    lost = now & ~chosen
    near[lost] = nearest_others(crop, now)[lost]
    near[chosen] = channel
    return result
