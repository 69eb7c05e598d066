"""The segmentation network of the study: a small U-Net behind a space-to-depth stem.

What it is: MONAI's `UNet` on blocks of voxels folded into channels.
In the flow: trained anew for every arm, n and seed; also the independent reader of adherence.
Sources: Kerfoot et al. 2019 (MONAI's residual U-Net); Shi et al. 2016, arXiv 1609.05158.
"""

from monai.networks.nets import UNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from vcmaug.config import Settings

__all__ = ["Segmenter", "SegmenterSettings"]


class SegmenterSettings(Settings):
    """Shape of the network."""

    stem_factor: int = Field(2, ge=1, description="edge of the block folded into channels")
    channels: tuple[int, ...] = (32, 64, 96)
    num_res_units: int = Field(1, ge=0)


class Segmenter(nn.Module):
    """Images [B, C, X, Y, Z] to logits [B, K + 1, X, Y, Z]; channel 0 is the background.

    Any grid will do: it is padded with zeros at its end to what the strides divide, and cut back.

    Args:
        settings: Shape of the network.
        num_structures: K.
        image_channels: C.
    """

    def __init__(
        self, settings: SegmenterSettings, *, num_structures: int, image_channels: int = 1
    ) -> None:
        super().__init__()
        self.stem_factor = settings.stem_factor
        fold = settings.stem_factor**3
        self.multiple = settings.stem_factor * 2 ** (len(settings.channels) - 1)
        self.net = UNet(
            spatial_dims=3,
            in_channels=image_channels * fold,
            out_channels=(num_structures + 1) * fold,
            channels=settings.channels,
            strides=(2,) * (len(settings.channels) - 1),
            num_res_units=settings.num_res_units,
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, K + 1, X, Y, Z] of images [B, C, X, Y, Z]."""
        short = [-size % self.multiple for size in images.shape[2:]]
        padding = [amount for size in reversed(short) for amount in (0, size)]  # Z, Y, X
        folded = pixelunshuffle(pad(images, padding), spatial_dims=3, scale_factor=self.stem_factor)
        logits: Tensor = pixelshuffle(
            self.net(folded), spatial_dims=3, scale_factor=self.stem_factor
        )
        for axis, size in enumerate(images.shape[2:], start=2):
            logits = logits.narrow(axis, 0, size)
        return logits
