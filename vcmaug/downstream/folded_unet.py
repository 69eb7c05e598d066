"""A U-Net behind a space-to-depth stem: the network of the segmenter `unet`."""

from collections.abc import Sequence

from monai.networks.nets import UNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["FoldedUNet"]


class FoldedUNet(nn.Module):
    """Images [B, C, X, Y, Z] to logits [B, K + 1, X, Y, Z]; channel 0 is the background.

    Any grid will do: it is padded with zeros at its end to what the strides divide, and cut back.

    Args:
        num_structures: K.
        image_channels: C.
        stem_factor: Edge of the block of voxels that is folded into channels.
        channels: Of each level.
        num_res_units: Of each level.

    References:
        Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
        convolutional neural network", 2016, arXiv 1609.05158.
    """

    def __init__(
        self,
        *,
        num_structures: int,
        image_channels: int,
        stem_factor: int,
        channels: Sequence[int],
        num_res_units: int,
    ) -> None:
        super().__init__()
        self.stem_factor = stem_factor
        fold = stem_factor**3
        self.multiple = stem_factor * 2 ** (len(channels) - 1)
        self.net = UNet(
            spatial_dims=3,
            in_channels=image_channels * fold,
            out_channels=(num_structures + 1) * fold,
            channels=tuple(channels),
            strides=(2,) * (len(channels) - 1),
            num_res_units=num_res_units,
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
