"""Regions drawn from an image itself, as stand-ins for labels that nobody has made.

What it is: connected voxels of like grey values around a drawn place, cut into parts.
In the flow: the conditions of a control's pretraining, which sees images and no label.
Sources: none; seeded region growing is Adams and Bischof 1994, IEEE TPAMI.

Notes:
    A control has to learn two things: how outlines steer the frozen model, and what the structures
    of a scheme look like. The first takes most of the updates and no label.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from vcmaug.config import Settings
from vcmaug.data.volume import Volume
from vcmaug.shapes import Box, padded_box

__all__ = ["RegionSettings", "drawn_regions"]

_FEWEST_VOXELS = 64
_MOST_OF_BALL = 0.9  # a region that fills its ball has no outline of its own
_DRAWS = 12


class RegionSettings(Settings):
    """How large regions are, and how alike their voxels."""

    per_image: int = Field(4, ge=1, description="maps drawn for each image and bent copy")
    radius_mm: tuple[float, float] = Field((8.0, 18.0), description="of the ball that bounds one")
    spread: tuple[float, float] = Field((0.06, 0.18), description="grey values away from the first")
    smooth_mm: float = Field(1.0, ge=0, description="sigma of the Gaussian before")


def drawn_regions(
    image: Volume,
    *,
    num_structures: int,
    settings: RegionSettings,
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return a map of one region in K parts, channel numbers from 1, 0 elsewhere, uint8 [X, Y, Z].

    Args:
        image: Values in [0, 1].
        num_structures: K.
        settings: Size and spread.
        generator: Draws everything.
    """
    smooth = ndimage.gaussian_filter(
        image.array.astype(np.float32), settings.smooth_mm / np.asarray(image.spacing_mm)
    )
    result = np.zeros(image.shape, dtype=np.uint8)
    for _ in range(_DRAWS):
        box, region = _grown(smooth, image.spacing_mm, settings, generator)
        if region.sum() >= _FEWEST_VOXELS:
            break
    places = np.argwhere(region)
    if len(places):
        result[box][tuple(places.T)] = _parts(places, num_structures, generator)
    return result


def _grown(
    smooth: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
    settings: RegionSettings,
    generator: np.random.Generator,
) -> tuple[Box, NDArray[np.bool_]]:
    """Return the box of a ball and the region in it that was grown from its centre."""
    centre = [int(generator.integers(size // 6, size - size // 6)) for size in smooth.shape]
    radius_mm = float(generator.uniform(*settings.radius_mm))
    reach = max(int(np.ceil(radius_mm / step)) for step in spacing_mm)
    box = padded_box([slice(c, c + 1) for c in centre], smooth.shape, by=reach)
    crop = smooth[box]
    first = tuple(c - part.start for c, part in zip(centre, box, strict=True))
    offsets = np.indices(crop.shape) - np.asarray(first).reshape(3, 1, 1, 1)
    away_mm = np.sqrt(((offsets * np.asarray(spacing_mm).reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
    ball = away_mm <= radius_mm
    alike = ball & (np.abs(crop - crop[first]) <= generator.uniform(*settings.spread))
    labels, _ = ndimage.label(ndimage.binary_opening(alike))
    nearest = np.where(labels > 0, away_mm, np.inf).argmin()
    region = labels == labels.flat[nearest] if labels.any() else np.zeros(crop.shape, dtype=bool)
    region = ndimage.binary_fill_holes(region)
    if region.sum() > _MOST_OF_BALL * ball.sum():
        region = np.zeros(crop.shape, dtype=bool)
    return box, region


def _parts(
    places: NDArray[np.int64], num_structures: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the part of each voxel: cuts across the region's long axis, their order drawn."""
    centred = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    along = centred @ axes[0]
    cuts = np.quantile(along, np.sort(generator.uniform(0.15, 0.85, num_structures - 1)))
    order = generator.permutation(num_structures) + 1
    parts: NDArray[np.uint8] = order[np.digitize(along, cuts)].astype(np.uint8)
    return parts
