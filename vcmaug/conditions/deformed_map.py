"""A label map under a deformation, with its parts, its topology and its thin structures kept.

Notes:
    Nearest-voxel lookup thins out a plate one voxel thick: pressed to nine tenths of its thickness,
    it falls between two lookups over whole patches, since smooth fields move neighbours alike. Its
    expected volume is the sum of its shares by linear interpolation; the voxels of the largest
    shares make it up.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.topology import NEIGHBOURS, apart, mended, nearest_others, numbered
from vcmaug.shapes import as_shape3, padded_box

__all__ = ["deformed_map", "parts_kept"]

_LEVELS = (0.4, 0.3, 0.2, 0.1, 0.05, 0.0)  # shares of voxels by which pieces are joined
_THIN = 0.25  # share of voxels with six neighbours of the same label, below which it is thin


def deformed_map(
    start: NDArray[np.uint8],
    displacement: NDArray[np.float32],
    *,
    num_structures: int,
    wanted: NDArray[np.int64] | None,
    specks: float,
    exact: Sequence[int] = (),
) -> NDArray[np.uint8]:
    """Return channel numbers [X, Y, Z] under a deformation.

    Args:
        start: Channel numbers before it.
        displacement: [3, X, Y, Z], voxels.
        num_structures: K.
        wanted: Parts and cavities [K, 2] to keep, from `counts_of`; None: they need not be.
        specks: Share of a structure below which a part does not count.
        exact: Channels that get their expected volume, besides thin ones.
    """
    from vcmaug.data.deformation import deform_label_map

    if wanted is None:
        numbers, owners = start, np.arange(num_structures + 1, dtype=np.uint8)
    else:
        numbers, owners = numbered(start, num_structures, least=specks / 2)
    deformed = deform_label_map(numbers, displacement)
    thin = [channel for channel in _thin_structures(start, num_structures) if channel not in exact]
    for channel in (*thin, *exact):
        for number in np.flatnonzero(owners == channel):
            deformed = _with_shares(deformed, numbers, displacement, int(number), specks=specks)
    return owners[deformed] if wanted is None else mended(apart(deformed, owners), wanted)


def parts_kept(
    start: NDArray[np.uint8],
    after: NDArray[np.uint8],
    displacement: NDArray[np.float32],
    *,
    channel: int,
    specks: float,
) -> bool:
    """Return whether each part and each cavity of a structure is still one, and apart from others.

    They are told by what became of each, so it does not matter how much each grew. Parts that had
    less than `specks` of the structure, or have less now, do not count, nor do such pieces.

    Args:
        start: Channel numbers [X, Y, Z].
        after: The same under the deformation.
        displacement: [3, X, Y, Z], voxels.
        channel: Of the structure.
        specks: Share of a structure.
    """
    inside, now = start == channel, after == channel
    least = [specks * np.count_nonzero(mask) for mask in (inside, now)]
    return all(
        _same_parts(_numbers(one, around), _numbers(other, around), displacement, least=least)
        for one, other, around in ((inside, now, False), (~inside, ~now, True))
    )


def _same_parts(
    before: NDArray[np.int32],
    now: NDArray[np.int32],
    displacement: NDArray[np.float32],
    *,
    least: Sequence[float],
) -> bool:
    """Return whether each large part, by its number, is one under a deformation, and its own.

    Args:
        before: Numbers of parts, 0 outside, [X, Y, Z].
        now: The same of the deformed mask, numbered anew.
        displacement: [3, X, Y, Z], voxels.
        least: Voxels from which a part counts, before and now.
    """
    from vcmaug.data.deformation import deform_label_map

    moved, mains = deform_label_map(before, displacement), []
    sizes, left_of = np.bincount(before.ravel()), np.bincount(moved.ravel())
    for part in range(1, len(sizes)):
        if sizes[part] < least[0] or part >= len(left_of) or left_of[part] < least[1]:
            continue
        left = np.bincount(now[(moved == part) & (now > 0)], minlength=2)
        second, first = np.sort(left)[-2:]
        if first == 0 or second >= max(1.0, least[1]):
            return False
        mains.append(int(left.argmax()))
    return len(set(mains)) == len(mains)


def _numbers(mask: NDArray[np.bool_], around: bool) -> NDArray[np.int32]:
    """Return the number of the part of each voxel, 0 outside, [X, Y, Z].

    Args:
        mask: [X, Y, Z].
        around: Whether what lies beyond the edge belongs to it, as one part.
    """
    numbers, _ = ndimage.label(np.pad(mask, 1, constant_values=around), NEIGHBOURS)
    return numbers[1:-1, 1:-1, 1:-1].astype(np.int32)


def _thin_structures(indices: NDArray[np.uint8], num_structures: int) -> list[int]:
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


def _with_shares(
    deformed: NDArray[np.uint8],
    start: NDArray[np.uint8],
    displacement: NDArray[np.float32],
    number: int,
    *,
    specks: float,
) -> NDArray[np.uint8]:
    """Return a deformed map in which one structure has the voxels of its largest shares.

    Pieces of it that would hang together by less than a voxel are joined.

    Args:
        deformed: Numbers after the deformation [X, Y, Z].
        start: Before it.
        displacement: The deformation [3, X, Y, Z], voxels.
        number: Of the structure, or of one of its parts.
        specks: Share of it below which a piece need not be joined.
    """
    mask = start == number
    reach = int(np.ceil(np.abs(displacement).max())) + 2
    box = padded_box(ndimage.find_objects(mask.astype(np.uint8))[0], start.shape, by=reach)
    offset = np.array([part.start for part in box]).reshape(3, 1, 1, 1)
    moved = displacement[(slice(None), *box)]
    places = np.indices(as_shape3(moved.shape[1:])) + offset + moved
    share = ndimage.map_coordinates(mask.astype(np.float32), places, order=1, mode="nearest")
    crop = deformed[box]
    now = crop == number
    count = round(float(share.sum()))
    order = np.argsort(-(share + 0.25 * now).ravel(), kind="stable")[:count]  # keep what is there
    chosen = np.zeros(crop.size, dtype=bool)
    chosen[order] = True
    chosen = _joined(chosen.reshape(crop.shape) & (share > 0), share, least=specks * count)
    result = deformed.copy()
    near = result[box]
    lost = now & ~chosen
    near[lost] = nearest_others(crop, now)[lost]
    near[chosen] = number
    return result


def _joined(
    chosen: NDArray[np.bool_], share: NDArray[np.float32], *, least: float
) -> NDArray[np.bool_]:
    """Return the voxels of a structure with its pieces joined where its shares are the largest.

    What a bridge adds is taken from the voxels of the smallest shares.

    Args:
        chosen: Voxels [X, Y, Z].
        share: Of each voxel, which the structure has.
        least: Voxels from which a piece is joined.
    """
    pieces, count = ndimage.label(chosen, NEIGHBOURS)
    sizes = np.bincount(pieces.ravel(), minlength=2)
    sizes[0] = 0
    main, bridges = pieces == sizes.argmax(), np.zeros_like(chosen)
    for piece in np.flatnonzero(sizes >= max(2.0, least)):
        if count > 1 and piece != sizes.argmax():
            bridges |= _bridge(pieces == piece, main, share)
    added = int((bridges & ~chosen).sum())
    if added == 0:
        return chosen
    spare = np.flatnonzero(chosen & ~bridges)
    weakest = spare[np.argsort(share.ravel()[spare], kind="stable")[:added]]
    joined = chosen | bridges
    joined.ravel()[weakest] = False
    return joined


def _bridge(
    piece: NDArray[np.bool_], main: NDArray[np.bool_], share: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return a chain of voxels from a piece to the main one, through shares as large as can be."""
    for level in _LEVELS:
        numbers, _ = ndimage.label(piece | main | (share > level), NEIGHBOURS)
        if numbers[piece][0] == numbers[main][0]:
            break
    else:
        return np.zeros_like(piece)
    within, reached = numbers == numbers[piece][0], piece
    steps = [piece]
    while not (reached & main).any():
        reached = ndimage.binary_dilation(reached, NEIGHBOURS, mask=within)
        steps.append(reached)
    chain = np.zeros_like(piece)
    here = np.argwhere(reached & main)[:1]
    for before in reversed(steps[:-1]):
        near = np.zeros_like(piece)
        near[tuple(here.T)] = True
        around = ndimage.binary_dilation(near, NEIGHBOURS) & before
        here = np.argwhere(around)[[int(np.argmax(share[around]))]]
        chain[tuple(here.T)] = True
    return chain
