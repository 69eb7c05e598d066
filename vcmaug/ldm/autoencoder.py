"""The autoencoder: images to latents and back, behind a space-to-depth stem.

A MONAI `AutoencoderKL` that works on blocks of voxels folded into channels. It is trained first,
then frozen; latents are its posterior means.

References:
    Kingma and Welling 2014, arXiv 1312.6114; Rombach et al. 2022, arXiv 2112.10752; Shi et al.
    2016, arXiv 1609.05158 (pixel shuffle).

Notes:
    With the stem no convolution runs at full resolution, which makes a step several times cheaper
    on a CPU. `stem_factor` 1 is the plain autoencoder of BrainLDM.

    With the shortcut the networks learn only what a linear map of single blocks of voxels misses.
    It starts at the principal components of the blocks, so that the first update already begins at
    their reconstruction; without it a thousand updates had not reached that point.

    With the foreground head the decoder says of each voxel whether the image shows anything there,
    and what it does not show is exactly 0, as in images whose background is masked.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks.nets import AutoencoderKL
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

from vcmaug.ldm.spec import PriorSpec

__all__ = ["Reconstruction", "StemmedAutoencoder", "volumes_at_once"]

_LOG_VARIANCE = -5.0  # of the posterior at the start of the shortcut
_VOXELS_AT_ONCE, _MOST_AT_ONCE = 2**23, 8  # one head of 1 mm, or some small grids


def volumes_at_once(grid_shape: Sequence[int]) -> int:
    """Return how many volumes of a grid an autoencoder takes at once, from one to eight.

    It holds some GiB for a whole head, so that many are encoded and decoded in parts; which ones
    depends on the grid alone, and so never on the machine.

    Examples:
        >>> volumes_at_once((160, 224, 160)), volumes_at_once((40, 48, 40))
        (1, 8)
    """
    return max(1, min(_MOST_AT_ONCE, _VOXELS_AT_ONCE // math.prod(grid_shape)))


class Reconstruction(NamedTuple):
    """Images that went through the autoencoder.

    Attributes:
        images: [B, C, X, Y, Z], not clipped, whatever is shown where.
        mean: Of the posterior, [B, L, x, y, z].
        deviation: Of the posterior, likewise.
        shown: Logits of what is foreground [B, 1, X, Y, Z]; None without that head.
    """

    images: Tensor
    mean: Tensor
    deviation: Tensor
    shown: Tensor | None


class StemmedAutoencoder(nn.Module):
    """An autoencoder [B, C, X, Y, Z] <-> [B, L, x, y, z].

    Args:
        spec: Of the prior; with the shortcut, encoder and decoder have a linear map of single
            blocks beside them, see `start_linear`.
    """

    def __init__(self, spec: PriorSpec) -> None:
        super().__init__()
        own, image_channels, edge = spec.autoencoder, spec.image_channels, spec.latent_factor
        self.stem_factor = own.stem_factor
        self.into = self.back = None
        if own.shortcut:
            self.into = nn.Conv3d(image_channels, own.latent_channels, edge, edge)
            self.back = nn.ConvTranspose3d(own.latent_channels, image_channels, edge, edge)
        self.folded = image_channels * own.stem_factor**3
        of_foreground = own.stem_factor**3 if own.foreground else 0
        self.kl = AutoencoderKL(
            spatial_dims=3,
            in_channels=self.folded,
            out_channels=self.folded + of_foreground,
            num_res_blocks=own.num_res_blocks,
            channels=own.channels,
            attention_levels=(False,) * len(own.channels),
            latent_channels=own.latent_channels,
            norm_num_groups=own.norm_num_groups,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return posterior mean and standard deviation, each [B, L, x, y, z].

        Args:
            images: [B, C, X, Y, Z] in [0, 1]; X, Y, Z are multiples of the latent factor.
        """
        mean, deviation = self.kl.encode(
            pixelunshuffle(images, spatial_dims=3, scale_factor=self.stem_factor)
        )
        return mean if self.into is None else mean + self.into(images), deviation

    def decode(self, z: Tensor) -> Tensor:
        """Return images [B, C, X, Y, Z], not clipped, from latents [B, L, x, y, z]."""
        images, shown = self._decoded(z)
        return images if shown is None else images * (shown > 0)

    def _decoded(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return images [B, C, X, Y, Z], and logits of their foreground if there is that head."""
        decoded: Tensor = self.kl.decode(z)
        images, *shown = (
            pixelshuffle(part, spatial_dims=3, scale_factor=self.stem_factor)
            for part in decoded.split(self.folded, dim=1)
        )
        if self.back is not None:
            images = images + self.back(z)
        return images, shown[0] if shown else None

    @torch.no_grad()
    def start_linear(self, images: Tensor) -> None:
        """Set the shortcut to the principal components of blocks, and the networks to silence.

        Args:
            images: Training images [N, C, X, Y, Z]; latents then have unit variance per channel.
        """
        if self.into is None or self.back is None:
            return
        num_latent, edge = self.into.out_channels, self.into.kernel_size[0]
        blocks = pixelunshuffle(images, spatial_dims=3, scale_factor=edge)  # [N, C e^3, x, y, z]
        grey = images.mean(dim=(0, 2, 3, 4))  # [C]
        rows = blocks.movedim(1, -1).flatten(end_dim=-2)  # [N x y z, C e^3]
        rows = rows - grey.repeat_interleave(edge**3)
        variances, axes = torch.linalg.eigh(rows.T @ rows / len(rows))
        sizes = variances[-num_latent:].clamp(min=1e-8).sqrt().reshape(-1, 1, 1, 1, 1)
        axes = axes[:, -num_latent:].T.reshape(self.into.weight.shape)  # [L, C, e, e, e]
        self.into.weight.copy_(axes / sizes)
        self.into.get_parameter("bias").copy_(-(axes / sizes).sum(dim=(2, 3, 4)) @ grey)
        self.back.weight.copy_(axes * sizes)
        self.back.get_parameter("bias").copy_(grey)
        for silent in (
            self.kl.quant_conv_mu,
            self.kl.quant_conv_log_sigma,
            *self.kl.decoder.blocks[-1:],
        ):
            nn.init.zeros_(silent.conv.weight)
            nn.init.zeros_(silent.conv.bias)
        nn.init.constant_(self.kl.quant_conv_log_sigma.conv.bias, _LOG_VARIANCE)

    def forward(self, images: Tensor, noise: Tensor) -> Reconstruction:
        """Return the reconstruction of images for given posterior noise.

        Args:
            images: [B, C, X, Y, Z] in [0, 1].
            noise: Standard normal draws [B, L, x, y, z].
        """
        mean, deviation = self.encode(images)
        decoded, shown = self._decoded(mean + deviation * noise)
        return Reconstruction(decoded, mean, deviation, shown)
