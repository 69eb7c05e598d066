"""Smooth diffeomorphic deformation of images and label maps.

A stationary velocity field is drawn, its exponential is taken by scaling and squaring, and images
and label maps are deformed by it: for perturbed conditions, deformed training pairs, and the
embedded population.

Notes:
    Fields [3, a, b, c] hold voxels of the grid at the nodes of a lattice whose outer nodes are the
    grid's outer voxel centres; between nodes they are linear. A smooth field needs few nodes, which
    is what makes it cheap. The deformed volume at voxel v is the source at v + displacement(v).
    No fold means that the Jacobian determinant of v + displacement(v) is positive everywhere; that
    is for the caller to check, since only the caller can draw again.

References:
    Arsigny et al. 2006, MICCAI (scaling and squaring of log-Euclidean velocity fields).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from vcmaug.shapes import Shape3, as_shape3

__all__ = [
    "draw_velocity",
    "integrate",
    "least_jacobian",
    "turned",
    "upsampled",
    "deform_image",
    "deform_label_map",
    "looked_up",
]

Field = NDArray[np.float32]  # [3, a, b, c], voxels of the grid

_NODES_PER_SIGMA = 2.0
_FEWEST_NODES = 4


def draw_velocity(
    shape: Shape3,
    *,
    spacing_mm: tuple[float, float, float],
    max_displacement_mm: float,
    smoothness_mm: float,
    generator: np.random.Generator,
) -> Field:
    """Return a smooth random stationary velocity field on a lattice, float32 [3, a, b, c].

    Args:
        shape: Of the grid, [X, Y, Z].
        spacing_mm: Voxel size.
        max_displacement_mm: Length of the longest velocity; deformations stay near or below it.
        smoothness_mm: Standard deviation of the Gaussian that smooths white noise.
        generator: Draws the noise.
    """
    extent_mm = [(size - 1) * spacing for size, spacing in zip(shape, spacing_mm, strict=True)]
    nodes = [
        min(size, max(_FEWEST_NODES, math.ceil(_NODES_PER_SIGMA * extent / smoothness_mm) + 1))
        for size, extent in zip(shape, extent_mm, strict=True)
    ]
    steps_mm = [extent / max(count - 1, 1) for extent, count in zip(extent_mm, nodes, strict=True)]
    noise = generator.standard_normal((3, *nodes), dtype=np.float32)
    sigmas = [
        smoothness_mm / step if count > 1 else 0.0
        for count, step in zip(nodes, steps_mm, strict=True)
    ]
    smooth = np.stack([ndimage.gaussian_filter(part, sigmas, mode="wrap") for part in noise])
    spacing = np.asarray(spacing_mm, dtype=np.float32).reshape(3, 1, 1, 1)
    longest = float(np.sqrt((smooth**2).sum(axis=0)).max())
    scale = max_displacement_mm / longest if longest > 0 else 0.0
    return (smooth * scale / spacing).astype(np.float32)


def integrate(velocity: Field, shape: Shape3, *, num_squarings: int = 6) -> Field:
    """Return the displacement of the field's exponential, on the velocity's lattice.

    Args:
        velocity: [3, a, b, c], voxels of the grid.
        shape: Of the grid, [X, Y, Z].
        num_squarings: The field is cut to a share of 1 / 2**num_squarings and composed as often.
    """
    steps = _steps(velocity, shape)
    displacement = torch.from_numpy(velocity / steps / 2**num_squarings)  # in nodes
    for _ in range(num_squarings):
        displacement = displacement + _sample(displacement, displacement)
    return displacement.numpy() * steps


def turned(
    displacement: Field,
    shape: Shape3,
    *,
    spacing_mm: Sequence[float],
    degrees: Sequence[float],
    scales: Sequence[float],
    translation_mm: Sequence[float],
) -> Field:
    """Return an affine map about the grid's centre and then a displacement, on its lattice.

    Args:
        displacement: [3, a, b, c], voxels of the grid.
        shape: Of the grid.
        spacing_mm: Voxel size.
        degrees: Of the turns about the three axes, one after the other.
        scales: Of the three axes; above 1 the result is larger.
        translation_mm: Along the three axes.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    back = np.linalg.inv(
        turn @ np.diag(np.asarray(scales, dtype=float))
    )  # a deformation looks up its source
    matrix = np.diag(1 / spacing) @ back @ np.diag(spacing)  # of voxels
    centre = (np.asarray(shape, dtype=float) - 1) / 2
    nodes = np.meshgrid(
        *[
            np.linspace(0, size - 1, count)
            for size, count in zip(shape, displacement.shape[1:], strict=True)
        ],
        indexing="ij",
    )
    places = np.stack(nodes)  # [3, a, b, c]
    to_centre = (centre + np.asarray(translation_mm) / spacing).reshape(3, 1, 1, 1)
    looked_up = np.einsum("ij,jabc->iabc", matrix, places + displacement - to_centre)
    moved: Field = (looked_up + centre.reshape(3, 1, 1, 1) - places).astype(np.float32)
    return moved


def upsampled(field: Field, shape: Shape3) -> Field:
    """Return a field at every voxel, float32 [3, X, Y, Z]; linear between nodes."""
    if field.shape[1:] == shape:
        return field
    dense = torch.from_numpy(field)
    for axis, size in enumerate(shape, start=1):
        weights = _interpolation(field.shape[axis], size)  # [size, nodes]
        dense = torch.movedim(torch.movedim(dense, axis, -1) @ weights.T, -1, axis)
    return dense.contiguous().numpy()


def least_jacobian(displacement: Field, shape: Shape3) -> float:
    """Return the least det of d(v + displacement)/dv at the corners of all cells of a lattice."""
    steps = _steps(displacement, shape)
    in_nodes = (displacement / steps).astype(np.float64)
    slopes = [np.diff(in_nodes, axis=axis) for axis in (1, 2, 3)]
    least = math.inf
    for axis, slope in enumerate(slopes):
        slope[axis] += 1.0  # of the place itself
    for corner in itertools.product((0, 1), repeat=3):
        a, b, c = (_at_corner(slope, axis, corner) for axis, slope in enumerate(slopes))
        determinant = (  # of the matrix of the columns a, b and c; LAPACK takes four times as long
            a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
        least = min(least, float(determinant.min()))
    return least


def _at_corner(slope: NDArray[Any], axis: int, corner: tuple[int, ...]) -> NDArray[Any]:
    """Return the slope along an axis on the edges that meet in one corner of each cell."""
    places = [slice(None)] * 4
    for other in range(3):
        if other != axis:
            size = slope.shape[other + 1]
            places[other + 1] = slice(corner[other], size - 1 + corner[other])
    return slope[tuple(places)]


def _steps(field: Field, shape: Shape3) -> NDArray[np.float32]:
    """Return voxels per step of a field's lattice, float32 [3, 1, 1, 1]."""
    nodes = as_shape3(field.shape[1:])
    steps = [max(size - 1, 1) / max(count - 1, 1) for size, count in zip(shape, nodes, strict=True)]
    return np.asarray(steps, dtype=np.float32).reshape(3, 1, 1, 1)


def _interpolation(nodes: int, size: int) -> Tensor:
    """Return the weights [size, nodes] of linear interpolation; outer nodes on outer voxels."""
    places = np.linspace(0, nodes - 1, size)
    first = np.minimum(places.astype(int), max(nodes - 2, 0))
    weights = np.zeros((size, nodes), dtype=np.float32)
    weights[np.arange(size), first] = 1.0 - (places - first)
    if nodes > 1:
        weights[np.arange(size), first + 1] += places - first
    return torch.from_numpy(weights)


def deform_image(array: NDArray[Any], displacement: Field) -> NDArray[np.float32]:
    """Return an image [X, Y, Z] under a displacement, by cubic splines, edges repeated.

    Linear interpolation takes four tenths of the gradient energy of a noisy image; splines a tenth.
    What they overshoot is cut to the image's own range, and where all voxels around a place have
    its least value, as the background of a masked head has, the rings of the splines are cut too.
    """
    image = np.asarray(array, dtype=np.float32)
    places = np.indices(image.shape, dtype=np.float32) + displacement
    deformed = ndimage.map_coordinates(image, places, order=3, mode="nearest")
    least = image.min()
    shown = ndimage.map_coordinates(
        (image > least).astype(np.float32), places, order=1, mode="nearest"
    )
    return np.where(shown > 0, np.clip(deformed, least, image.max()), least)


def deform_label_map(label_map: NDArray[Any], displacement: Field) -> NDArray[Any]:
    """Return a label map [X, Y, Z] under a displacement [3, X, Y, Z], by the nearest voxel."""
    shape = label_map.shape
    flat = torch.zeros(shape, dtype=torch.int64)
    for axis, size in enumerate(shape):
        places = torch.arange(size, dtype=torch.float32).reshape(
            [-1 if axis == k else 1 for k in range(3)]
        )
        moved = torch.from_numpy(displacement[axis]) + places
        flat.mul_(size).add_(moved.round_().clamp_(0, size - 1).to(torch.int64))
    kind = label_map.dtype
    source = torch.from_numpy(np.ascontiguousarray(label_map, dtype=np.int32)).reshape(-1)
    return source[flat].numpy().astype(kind)


def looked_up(channels: NDArray[np.float32], displacement: Field) -> NDArray[np.float32]:
    """Return channels [C, X, Y, Z] under a displacement [3, X, Y, Z], linearly, edges repeated."""
    return _sample(torch.from_numpy(channels), torch.from_numpy(displacement)).numpy()


def _sample(channels: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """Return channels [C, X, Y, Z] at v + displacement(v), displacement [3, X, Y, Z] in voxels."""
    shape = channels.shape[1:]
    axes = [torch.arange(size, dtype=torch.float32) for size in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")) + displacement  # [3, X, Y, Z]
    sizes = torch.tensor(shape, dtype=torch.float32).reshape(3, 1, 1, 1)
    unit = 2.0 * places / (sizes - 1.0).clamp(min=1.0) - 1.0  # -1 and 1 at the outer voxel centres
    grid = unit.permute(1, 2, 3, 0).flip(-1)  # [X, Y, Z, 3], last voxel axis first
    return functional.grid_sample(
        channels[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True
    )[0]
