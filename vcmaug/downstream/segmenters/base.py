"""The family of segmentation networks: settings that make a network when they are asked to."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from vcmaug.parts import Part

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Segmenter"]


class Segmenter(Part):
    """A segmentation network; a part says its shape and makes it."""

    family: ClassVar[str] = "segmenter"
    home: ClassVar[str] = "vcmaug.downstream.segmenters"

    @abstractmethod
    def network(self, *, num_structures: int, image_channels: int = 1) -> "nn.Module":
        """Return a new network from images [B, C, X, Y, Z] to logits [B, K + 1, X, Y, Z].

        Args:
            num_structures: K; channel 0 of the logits is the background.
            image_channels: C.
        """
