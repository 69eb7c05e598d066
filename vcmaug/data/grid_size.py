"""Defaults that depend on the grid, taken from the recipes that stand for three sizes of it.

The three are `recipes/hippocampus` (32x48x32 voxels of 1 mm), `recipes/brain-mini` at 4 mm
(40x48x40) and at 2 mm (80x96x80). The first two are measured, see their LOG.md; of the third the
recipe states what it would take, and it has not been run. The settings that use this module name
the numbers of the three.

Notes:
    Between two recipes a number follows the logarithm of the size; smaller and larger grids take
    those of the first and of the last recipe, since nothing is known beyond them. Where a recipe
    of a larger grid makes do with less than that of a smaller one, the larger number stands.
"""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from vcmaug.data.geometry import Grid

__all__ = ["by_extent", "by_size", "grid_in", "is_crop"]

_VOXELS = (32 * 48 * 32, 40 * 48 * 40, 80 * 96 * 80)
_SHORTEST_SIDE_MM = (32.0, 160.0)


def by_size(grid: Grid, numbers: tuple[int, int, int], *, step: int = 1) -> int:
    """Return the number that fits the voxels of a grid, rounded to whole steps.

    Args:
        grid: Whatever is worked on.
        numbers: At 32x48x32, at 40x48x40 and at 80x96x80 voxels.
        step: The result is a multiple of it.

    Examples:
        >>> by_size(Grid((32, 48, 32)), (1000, 1000, 4000), step=100)
        1000
        >>> by_size(Grid((64, 64, 64)), (1000, 1000, 4000), step=100)
        2800
    """
    return step * round(_between(math.prod(grid.shape), _VOXELS, numbers) / step)


def by_extent(grid: Grid, lengths_mm: tuple[float, float]) -> float:
    """Return the length that fits the shortest side of a grid, to half a millimetre.

    Args:
        grid: Whatever is worked on.
        lengths_mm: For a side of 32 mm and for one of 160 mm, as of crops and of heads.

    Examples:
        >>> by_extent(Grid((40, 48, 40), spacing_mm=(4, 4, 4)), (2.5, 8.0))
        8.0
    """
    return round(2 * _between(_shortest_side_mm(grid), _SHORTEST_SIDE_MM, lengths_mm)) / 2


def is_crop(grid: Grid) -> bool:
    """Return whether the shortest side of a grid is nearer to that of a crop than of a head.

    Examples:
        >>> is_crop(Grid((32, 48, 32))), is_crop(Grid((80, 96, 80), spacing_mm=(2, 2, 2)))
        (True, False)
    """
    return _between(_shortest_side_mm(grid), _SHORTEST_SIDE_MM, (0.0, 1.0)) < 0.5


def _shortest_side_mm(grid: Grid) -> float:
    """Return the length of a grid along its shortest axis."""
    return min(size * step for size, step in zip(grid.shape, grid.spacing_mm, strict=True))


class _WithGrid(BaseModel):
    """Whatever has a grid."""

    model_config = ConfigDict(from_attributes=True)

    grid: Grid


def grid_in(content: object) -> Grid | None:
    """Return the grid in settings that are not checked yet, or None if there is no valid one."""
    try:
        return _WithGrid.model_validate(content).grid
    except ValidationError:
        return None


def _between(size: float, sizes: Sequence[float], numbers: Sequence[float]) -> float:
    """Return the number at a size, straight over the logarithm of sizes."""
    return float(np.interp(np.log(size), np.log(sizes), numbers))
