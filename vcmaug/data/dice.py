"""The Dice overlap of two masks, with the one rule for empty ones that the whole package uses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EMPTY_RULE", "dice_of"]

EMPTY_RULE = "Both empty: Dice 1. One of them empty: Dice 0."


def dice_of(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two masks of one shape, in single precision.

    Both empty give 1, one of them empty 0, so that a missed structure is never left out of a mean.

    Args:
        first: Mask [X, Y, Z]; what is not zero is in it.
        second: Likewise.

    References:
        Dice, "Measures of the amount of ecologic association between species", 1945.

    Examples:
        >>> dice_of(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0]))
        0.5
        >>> dice_of(np.zeros(3), np.zeros(3))
        1.0
    """
    inside, there = first != 0, second != 0
    size = np.count_nonzero(inside) + np.count_nonzero(there)
    if size == 0:
        return 1.0
    both = np.count_nonzero(inside & there)
    return float(np.float32(2 * both) / np.float32(size))
