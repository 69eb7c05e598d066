"""Where a lesion of the atlas comes to lie in a host, and its voxels there.

There are three ways from host voxels to lesion voxels (common space, registration, a drawn place);
along each the lesion's crop is resampled.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.affine import affine_of, inverse, moved_field, moved_points
from vcmaug.conditions.atlas import Lesion
from vcmaug.shapes import Box, Shape3, as_shape3

if TYPE_CHECKING:
    from vcmaug.data.registration import Registration

__all__ = ["AffinePlace", "Place", "Placed", "RegisteredPlace", "elastic_change", "place", "to_map"]

_CHANGES_ACROSS = 4.0  # deviations of the elastic change across a lesion: fewer only move it
_STEEPEST = 0.5  # its longest displacement over its smoothness, so that it does not fold


@dataclass(frozen=True)
class Placed:
    """A lesion in a host: class numbers uint8 in a box of the host's grid."""

    box: Box
    classes: NDArray[np.uint8]


@dataclass(frozen=True)
class AffinePlace:
    """Host voxels to atlas millimetres by an affine map, 4x4."""

    to_atlas: NDArray[np.float64]

    def box(self, lesion: Lesion, shape: Shape3) -> Box | None:
        """Return the box of a host's grid around the crop's corners; None: it lies outside."""
        to_host = inverse(self.to_atlas) @ lesion.affine
        sides = [(-0.5, size - 0.5) for size in lesion.crop.shape]
        corners = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
        return _box_around(moved_points(to_host, corners), shape)

    def look_up(self, lesion: Lesion, box: Box) -> NDArray[np.float64]:
        """Return the crop's coordinates [3, a, b, c] of the voxels of a box."""
        return _world_of(box, inverse(lesion.affine) @ self.to_atlas)


@dataclass(frozen=True)
class RegisteredPlace:
    """Host voxels to atlas millimetres by a registration.

    Attributes:
        affine: Of the host's grid.
        registration: From the host's world to that of the atlas.
    """

    affine: NDArray[np.float64]
    registration: "Registration"

    def box(self, lesion: Lesion, shape: Shape3) -> Box | None:
        """Return the box around the lattice nodes that come to lie in or near the crop, if any."""
        nodes = self.registration.moved_nodes()  # [3, a, b, c], atlas mm
        there = moved_field(inverse(lesion.affine), nodes)
        margin = 1.5 * self.registration.step_mm / np.reshape(lesion.spacing_mm, (3, 1, 1, 1))
        sizes = np.array(lesion.crop.shape, dtype=float).reshape(3, 1, 1, 1)
        near = np.all((there > -margin) & (there < sizes + margin), axis=0)  # of a node's cell
        if not near.any():
            return None
        found = self.registration.nodes_mm()[:, near].T  # [M, 3], host mm
        return _box_around(moved_points(inverse(self.affine), found), shape)

    def look_up(self, lesion: Lesion, box: Box) -> NDArray[np.float64]:
        """Return the crop's coordinates [3, a, b, c] of the voxels of a box."""
        atlas_mm = self.registration(_world_of(box, self.affine))
        return moved_field(inverse(lesion.affine), atlas_mm)


Place = AffinePlace | RegisteredPlace
"""From host voxels to voxels of a lesion's crop."""


def _world_of(box: Box, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where an affine map [4, 4] sends the voxels of a box, [3, a, b, c]."""
    places: NDArray[np.float64] = np.full([3, *(part.stop - part.start for part in box)], 0.0)
    for axis, part in enumerate(box):
        along = np.arange(part.start, part.stop, dtype=float)
        shape = [-1 if k == axis else 1 for k in range(3)]
        places += matrix[:3, axis].reshape(3, 1, 1, 1) * along.reshape(1, *shape)
    return places + matrix[:3, 3].reshape(3, 1, 1, 1)


def to_map(
    lesion: Lesion,
    *,
    affine: NDArray[np.float64],
    centre_mm: NDArray[np.float64],
    rotation: NDArray[np.float64],
    scale: float,
) -> NDArray[np.float64]:
    """Return the map from host voxels to atlas millimetres that puts a lesion at a place.

    Args:
        lesion: To be placed.
        affine: Of the host's grid.
        centre_mm: Where its centre shall lie, in the host's world.
        rotation: About its centre, 3x3.
        scale: Above 1 it becomes larger.
    """
    back = rotation.T / scale
    return affine_of(back, lesion.centre_mm - back @ centre_mm) @ affine


def place(
    lesion: Lesion,
    where: Place,
    shape: Shape3,
    *,
    elastic_mm: float = 0.0,
    generator: np.random.Generator | None = None,
) -> Placed | None:
    """Return a lesion's voxels in a host; None where none of them lies on its grid.

    Args:
        lesion: Of the atlas.
        where: From host voxels to the lesion.
        shape: Of the host's grid.
        elastic_mm: Longest displacement of a smooth change of its outline.
        generator: Draws that change.
    """
    box = where.box(lesion, shape)
    if box is None:
        return None
    places = where.look_up(lesion, box)
    if elastic_mm > 0 and generator is not None:
        places = places + elastic_change(lesion, as_shape3(places.shape[1:]), elastic_mm, generator)
    share = ndimage.map_coordinates(
        (lesion.crop > 0).astype(np.float32), places, order=1, mode="grid-constant", cval=0.0
    )
    inside = share >= 0.5
    if not inside.any():
        return None
    classes = inside.astype(np.uint8)
    if lesion.crop.max() > 1:
        nearest = ndimage.map_coordinates(lesion.crop, places, order=0, mode="nearest")
        classes = np.where(inside, np.maximum(nearest, 1), 0).astype(np.uint8)
    return Placed(box, classes)


def elastic_change(
    lesion: Lesion, shape: Shape3, elastic_mm: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return a smooth displacement [3, a, b, c] in voxels of the crop.

    Args:
        lesion: Its size decides how smooth, and how far where `elastic_mm` would fold it.
        shape: [a, b, c] of the box to which it comes.
        elastic_mm: Longest displacement.
        generator: Draws it.
    """
    from vcmaug.data.deformation import draw_velocity, upsampled

    smoothness_mm = lesion.volume_mm3 ** (1 / 3) / _CHANGES_ACROSS
    field = draw_velocity(
        shape,
        spacing_mm=lesion.spacing_mm,
        max_displacement_mm=min(elastic_mm, _STEEPEST * smoothness_mm),
        smoothness_mm=smoothness_mm,
        generator=generator,
    )
    return upsampled(field, shape)


def _box_around(places: NDArray[np.float64], shape: Shape3) -> Box | None:
    """Return the whole voxels around places [N, 3], cut at the grid; None if nothing is left."""
    first, second, third = (
        slice(max(0, math.floor(a)), min(size, math.ceil(b) + 1))
        for a, b, size in zip(places.min(axis=0), places.max(axis=0), shape, strict=True)
    )
    if any(part.stop <= part.start for part in (first, second, third)):
        return None
    return first, second, third
