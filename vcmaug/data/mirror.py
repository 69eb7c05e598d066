"""Mirroring from left to right: along which axis, and which structures change places.

Training pairs, conditions and augmented cases are mirrored by it; `data.sides` pairs the structures
by their names.

Notes:
    Where left and right are not alike, as in a heart or a liver, a mirrored case is no case: leave
    flips off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcmaug.affine import side_axis
from vcmaug.data.labels import LabelScheme
from vcmaug.data.sides import other_side, refuse_unknown_sides
from vcmaug.data.volume import Volume

__all__ = ["Mirror", "mirror_of", "mirrored"]


@dataclass(frozen=True)
class Mirror:
    """How cases of a grid and a scheme are mirrored.

    Attributes:
        axis: Of a volume [X, Y, Z], that is turned round.
        channels: What each channel becomes, the background first, uint8 [K + 1].
    """

    axis: int
    channels: NDArray[np.uint8]


def mirrored(volume: Volume) -> NDArray[np.generic]:
    """Return the array of a volume turned round from left to right; its values stay."""
    return np.flip(volume.array, axis=side_axis(volume.orientation))


def mirror_of(orientation: str, scheme: LabelScheme) -> Mirror:
    """Return how cases are mirrored.

    Args:
        orientation: Of their grid, such as RAS.
        scheme: Of their label maps; structures of two sides are pairs by their names.

    Raises:
        DataError: It cannot be told which structure takes the place of one.
    """
    refuse_unknown_sides(scheme.names, doing="mirroring label maps")
    names = list(scheme.names)
    places = [names.index(other_side(name)) + 1 for name in names]
    return Mirror(side_axis(orientation), np.array([0, *places], dtype=np.uint8))
