"""Affines: matrices [4, 4] from voxel indices to RAS+ millimetres, and what follows from them.

Built on nibabel's pure functions. Whoever needs a voxel's place in the world, a voxel size or the
axis that runs from left to right asks here.

References:
    nibabel's documentation, "Coordinate systems and affines".
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from nibabel.affines import apply_affine, from_matvec, voxel_sizes
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Affine",
    "affine_of",
    "apart_mm",
    "axis_towards",
    "centred",
    "inverse",
    "moved_field",
    "moved_points",
    "opposite",
    "orientation_of",
    "reoriented",
    "shifted",
    "side_axis",
    "spacing_of",
    "with_steps",
]

Affine = NDArray[np.float64]


def affine_of(matrix: ArrayLike, offset: ArrayLike = (0.0, 0.0, 0.0)) -> Affine:
    """Return the affine of a matrix [3, 3] and an offset [3].

    Examples:
        >>> affine_of(np.eye(3), (1, 2, 3))[0].tolist()
        [1.0, 0.0, 0.0, 1.0]
    """
    result: Affine = from_matvec(np.asarray(matrix, dtype=np.float64), offset)
    return result


def with_steps(steps: Sequence[float], offset: ArrayLike = (0.0, 0.0, 0.0)) -> Affine:
    """Return the affine whose axes are the world's, with such a step [3] along each."""
    return affine_of(np.diag(np.asarray(steps, dtype=np.float64)), offset)


def inverse(affine: Affine) -> Affine:
    """Return the affine from millimetres back to voxels."""
    return np.asarray(np.linalg.inv(affine), dtype=np.float64)


def moved_points(affine: Affine, points: ArrayLike) -> NDArray[np.float64]:
    """Return points [..., 3] moved by an affine.

    Examples:
        >>> moved_points(with_steps((2, 2, 2), (0, 0, 5)), [[1, 1, 1]]).tolist()
        [[2.0, 2.0, 7.0]]
    """
    return np.asarray(apply_affine(affine, points), dtype=np.float64)


def apart_mm(first: Affine, second: Affine, shape: Sequence[int]) -> float:
    """Return how far apart two affines place the same corner voxel of a grid at most, in mm.

    Args:
        first: Of the grid.
        second: Of the grid.
        shape: Voxels along each axis.

    Examples:
        >>> apart_mm(np.eye(4), with_steps((1, 1, 1.5)), (3, 3, 3))
        1.0
    """
    corners = list(itertools.product(*[(0, size - 1) for size in shape]))
    apart = moved_points(first, corners) - moved_points(second, corners)
    return float(np.linalg.norm(apart, axis=1).max())


def moved_field(affine: Affine, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return places [3, X, Y, Z], the coordinates along the first axis, moved by an affine."""
    moved: NDArray[np.float64] = np.einsum("ij,jabc->iabc", affine[:3, :3], places)
    return moved + affine[:3, 3].reshape(3, 1, 1, 1)


def shifted(affine: Affine, start: Sequence[float]) -> Affine:
    """Return the affine of a grid that starts at another voxel [3] of the same lattice."""
    return affine @ affine_of(np.eye(3), start)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Return the voxel size along each array axis, in mm."""
    first, second, third = voxel_sizes(affine)
    return float(first), float(second), float(third)


def orientation_of(affine: Affine) -> str:
    """Return the world axis that each array axis is nearest to, as three letters.

    Examples:
        >>> orientation_of(np.diag([-1.0, 1.0, 1.0, 1.0]))
        'LAS'
    """
    return "".join(aff2axcodes(affine))


def opposite(letter: str) -> str:
    """Return the letter of the opposite side.

    Examples:
        >>> opposite("L"), opposite("S")
        ('R', 'I')
    """
    return dict(zip("RLAPSI", "LRPAIS", strict=True))[letter]


def reoriented(
    array: NDArray[Any], affine: Affine, orientation: str
) -> tuple[NDArray[Any], Affine]:
    """Return an array [X, Y, Z] turned until its axes point as asked, and its affine then."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
    return apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape)


def centred(orientation: str, steps_mm: Sequence[float], shape: Sequence[int]) -> Affine:
    """Return the affine of a grid whose centre is the world's origin.

    Args:
        orientation: Three letters, such as LAS.
        steps_mm: Voxel size along each array axis.
        shape: Voxels along each array axis.

    Examples:
        >>> centred("LAS", (2, 2, 2), (3, 3, 5))[:3].tolist()
        [[-2.0, 0.0, 0.0, 2.0], [0.0, 2.0, 0.0, -2.0], [0.0, 0.0, 2.0, -4.0]]
    """
    matrix = np.zeros((3, 3))
    for axis, (letter, step) in enumerate(zip(orientation, steps_mm, strict=True)):
        world, backwards = divmod("RLAPSI".index(letter), 2)
        matrix[world, axis] = -step if backwards else step
    middle = (np.asarray(shape, dtype=np.float64) - 1) / 2
    return affine_of(matrix, -matrix @ middle)


def axis_towards(orientation: str, letters: str) -> int:
    """Return the array axis that points to one of two opposite sides.

    Args:
        orientation: Three letters, such as LAS.
        letters: Two opposite ones, such as RL.

    Examples:
        >>> axis_towards("LAS", "SI")
        2
    """
    return next(axis for axis, letter in enumerate(orientation) if letter in letters)


def side_axis(orientation: str) -> int:
    """Return the array axis that runs from one side of the body to the other.

    Examples:
        >>> side_axis("LAS"), side_axis("PIR")
        (0, 2)
    """
    return axis_towards(orientation, "RL")
