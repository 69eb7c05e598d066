"""Mirroring from left to right: along which axis, and which structures change places.

Training pairs, conditions and augmented cases are mirrored by it. Structures are paired by their
names, as FreeSurfer, TotalSegmentator and DLMUSE give them.

Notes:
    A name shows its side by a word: left or right, lh or rh, wherever it stands; l or r, first or
    last. What shows no side keeps its label: such a structure must lie on both sides or across
    the middle. Where names do not tell the side, or where left and right are not alike, as in a
    heart, leave flips off.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcmaug.affine import side_axis
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError, list_faults

__all__ = ["Mirror", "lone_sides", "mirror_of", "mirrored", "other_side"]

_SIDE = re.compile(
    r"(?<![a-z])(left|right|lh|rh)(?![a-z])|^[lr](?![a-z0-9])|(?<![a-z0-9])[lr]$", re.IGNORECASE
)
_OTHER = {"left": "right", "right": "left", "lh": "rh", "rh": "lh", "l": "r", "r": "l"}


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


def other_side(name: str) -> str:
    """Return the name of the same structure on the other side; the name itself if it has no side.

    Examples:
        >>> other_side("left_hippocampus"), other_side("Kidney R"), other_side("bright_core")
        ('right_hippocampus', 'Kidney L', 'bright_core')
    """
    return _SIDE.sub(lambda found: _with_case_of(found[0], _OTHER[found[0].lower()]), name)


def _with_case_of(old: str, new: str) -> str:
    """Return a word in capitals or with a first capital if another is so."""
    if old.istitle():
        return new.title()
    return new.upper() if old.isupper() else new


def lone_sides(names: Sequence[str]) -> list[str]:
    """Return a fault for every structure whose other side is not among the names.

    Examples:
        >>> lone_sides(("left_hippocampus", "csf"))
        ["'left_hippocampus' has no 'right_hippocampus' to change places with"]
    """
    return [
        f"{name!r} has no {other_side(name)!r} to change places with"
        for name in names
        if other_side(name) not in names
    ]


def mirror_of(orientation: str, scheme: LabelScheme) -> Mirror:
    """Return how cases are mirrored.

    Args:
        orientation: Of their grid, such as RAS.
        scheme: Of their label maps; structures of two sides are pairs by their names.

    Raises:
        DataError: A structure lacks its other side.
    """
    if faults := lone_sides(scheme.names):
        advice = "Switch flips off, or name both sides in the scheme."
        raise DataError(list_faults("mirroring label maps", faults, advice=advice))
    names = list(scheme.names)
    places = [names.index(other_side(name)) + 1 for name in names]
    return Mirror(side_axis(orientation), np.array([0, *places], dtype=np.uint8))
