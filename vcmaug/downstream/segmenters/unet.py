"""`unet`: a residual U-Net, with or without blocks of voxels folded into channels."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vcmaug.downstream.segmenters.base import Segmenter

if TYPE_CHECKING:
    from torch import nn

__all__ = ["UNet"]


class UNet(Segmenter):
    """MONAI's residual U-Net, without a stem: one costs 0.02 Dice (recipes/hippocampus/LOG.md).

    References:
        Kerfoot et al., "Left-ventricle quantification using residual U-Net", 2019.
    """

    name: Literal["unet"] = "unet"
    stem_factor: int = Field(1, ge=1, description="edge of the block folded into channels")
    channels: tuple[int, ...] = (16, 32, 64, 128)
    num_res_units: int = Field(1, ge=0)

    def network(self, *, num_structures: int, image_channels: int = 1) -> "nn.Module":
        """Return a new network; any grid will do."""
        from vcmaug.downstream.folded_unet import FoldedUNet

        return FoldedUNet(
            num_structures=num_structures,
            image_channels=image_channels,
            stem_factor=self.stem_factor,
            channels=self.channels,
            num_res_units=self.num_res_units,
        )
