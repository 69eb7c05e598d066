"""`threshold`: a grey value and a depth, chosen on the labelled cases; no network at all.

Where a structure is darker, or brighter, than all around it, whoever claims that a network or a
cohort is needed shows this beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from vcmaug.arms.base import Arm, Need
from vcmaug.data.dice import dice_of
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.downstream.training_data import Reading, Rule
from vcmaug.errors import DataError

__all__ = ["Threshold"]

_GREYS = 41  # that are tried: quantiles of what lies in the structure
_DEPTHS_MM = tuple(range(0, 62, 2))


class Threshold(Arm):
    """One structure by two parameters; all others are found empty."""

    name: Literal["threshold"] = "threshold"
    structure: str | None = Field(None, description="none: the only one of the scheme")

    colour: ClassVar[str] = "#666666"
    marker: ClassVar[str] = "x"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = None

    @property
    def rule(self) -> Rule:
        """The grey value and the depth."""
        return _GreyAndDepth(self.structure)


@dataclass(frozen=True)
class _GreyAndDepth:
    """A structure as what is dark enough, or bright enough, and deep enough under the outline.

    The outline is that of all that is above 0, filled.
    """

    structure: str | None

    @property
    def identity(self) -> object:
        """Its name and its structure."""
        return ["threshold", self.structure]

    def fitted(self, real: LabelledVolumes) -> Reading:
        """Return the reading whose mean Dice over the labelled cases is the largest.

        Raises:
            DataError: There is no such structure, or none is named and there are several.
        """
        names = real.scheme.names
        name = names[0] if self.structure is None and len(names) == 1 else self.structure
        if name not in names:
            raise DataError(
                f"arm threshold: found structure {self.structure!r}, expected one of the scheme "
                f"({', '.join(names)})."
            )
        channel = names.index(name) + 1
        inside = real.scheme.channels(real.labels) == channel
        heads = [_Head(image, real.spacing_mm) for image in real.images]
        outside = np.concatenate(
            [h.image[h.shown & ~m] for h, m in zip(heads, inside, strict=True)]
        )
        own = np.concatenate([h.image[m] for h, m in zip(heads, inside, strict=True)])
        if own.size == 0 or outside.size == 0:
            raise DataError(f"arm threshold: no labelled case has {name!r} and something else.")
        sign = 1.0 if np.median(own) <= np.median(outside) else -1.0
        tried = [
            _Reading(channel, real.spacing_mm, sign, float(grey), float(depth))
            for grey in np.quantile(own, np.linspace(0, 1, _GREYS))
            for depth in _DEPTHS_MM
        ]
        return max(tried, key=lambda one: one.mean_dice(heads, inside))


@dataclass(frozen=True, eq=False)
class _Head:
    """An image, and how deep each voxel lies under its outline."""

    image: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """What lies within the outline."""
        filled: NDArray[np.bool_] = ndimage.binary_fill_holes(self.image > 0)
        return filled

    @cached_property
    def depth_mm(self) -> NDArray[np.float64]:
        """Of each voxel; 0 outside."""
        depth: NDArray[np.float64] = ndimage.distance_transform_edt(
            self.shown, sampling=self.spacing_mm
        )
        return depth


@dataclass(frozen=True)
class _Reading:
    """Two parameters, and on which side of the grey value the structure is."""

    channel: int
    spacing_mm: tuple[float, float, float]
    sign: float
    grey: float
    depth_mm: float

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return channel numbers [N, X, Y, Z] of images [N, X, Y, Z]."""
        found = [self._in(_Head(image, self.spacing_mm)) for image in images]
        return (np.stack(found) * self.channel).astype(np.uint8)

    def mean_dice(self, heads: list[_Head], inside: NDArray[np.bool_]) -> float:
        """Return the mean Dice over cases."""
        return float(np.mean([*self._dices(heads, inside)]))

    def _dices(self, heads: list[_Head], inside: NDArray[np.bool_]) -> Iterator[float]:
        """Yield the Dice of each case."""
        for head, mask in zip(heads, inside, strict=True):
            yield dice_of(self._in(head), mask)

    def _in(self, head: _Head) -> NDArray[np.bool_]:
        """Return the voxels of the structure in a head."""
        found: NDArray[np.bool_] = self.sign * head.image <= self.sign * self.grey
        return found & (head.depth_mm > self.depth_mm)
