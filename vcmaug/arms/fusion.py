"""`fusion`: the label maps of the labelled cases, carried over by registration; no network at all.

References:
    Heckemann et al. 2006, Neuroimage 33 (several label maps registered to a head, and their vote).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmaug.affine import centred
from vcmaug.arms.base import Arm, Need
from vcmaug.data.volume import Volume
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.downstream.training_data import Reading, Rule

__all__ = ["Fusion"]


class Fusion(Arm):
    """Every labelled case is registered to an image, and their label maps vote voxel by voxel."""

    name: Literal["fusion"] = "fusion"

    colour: ClassVar[str] = "#332288"
    marker: ClassVar[str] = "x"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = None

    @property
    def rule(self) -> Rule:
        """Registration and vote."""
        return _Vote()


@dataclass(frozen=True)
class _Vote:
    """The vote of all labelled cases."""

    identity: ClassVar[object] = "fusion"

    def fitted(self, real: LabelledVolumes) -> Reading:
        """Return the reading; there is nothing to fit."""
        affine = centred(real.orientation, real.spacing_mm, real.shape)

        def voted(image: NDArray[np.float32]) -> NDArray[np.uint8]:
            counts = np.zeros((real.scheme.num_structures + 1, *real.shape), dtype=np.uint16)
            for channels in _carried(real, Volume(image, affine)):
                for channel, count in enumerate(counts):
                    count += channels == channel
            first: NDArray[np.uint8] = counts.argmax(axis=0).astype(np.uint8)
            return first

        return lambda images: np.stack([voted(image) for image in images])


def _carried(real: LabelledVolumes, image: Volume) -> Iterator[NDArray[np.uint8]]:
    """Yield the channel numbers of each labelled case on an image."""
    from vcmaug.data.registration import carried_over

    for name, moving, labels in zip(real.names, real.images, real.labels, strict=True):
        label_map = Volume(real.scheme.channels(labels).astype(np.uint16), image.affine)
        moved = carried_over(
            label_map, Volume(moving, image.affine), to=image, names=(f"case {name}", "an image")
        )
        yield moved.astype(np.uint8)
