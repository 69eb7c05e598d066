"""The autoencoder: images to latents and back, behind a space-to-depth stem.

What it is: a MONAI `AutoencoderKL` that works on blocks of voxels folded into channels.
In the flow: trained first, then frozen; latents are encoded once with the posterior mean.
Sources: Kingma and Welling 2014, arXiv 1312.6114; Rombach et al. 2022, arXiv 2112.10752; Shi et
al. 2016, arXiv 1609.05158 (pixel shuffle).

Notes:
    With the stem no convolution runs at full resolution, which makes a step several times cheaper
    on a CPU. `stem_factor` 1 is the plain autoencoder of BrainLDM.
"""

from collections.abc import Sequence

from monai.networks.nets import AutoencoderKL
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

__all__ = ["StemmedAutoencoder"]


class StemmedAutoencoder(nn.Module):
    """An autoencoder [B, C, X, Y, Z] <-> [B, L, x, y, z].

    Args:
        image_channels: C.
        latent_channels: L.
        stem_factor: Edge of the block of voxels that the stem folds into channels.
        channels: Feature channels per level; each level after the first halves the grid.
        num_res_blocks: Residual blocks per level.
        norm_num_groups: Groups of the group normalisation.
    """

    def __init__(
        self,
        *,
        image_channels: int,
        latent_channels: int,
        stem_factor: int,
        channels: Sequence[int],
        num_res_blocks: int,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        self.stem_factor = stem_factor
        folded = image_channels * stem_factor**3
        self.kl = AutoencoderKL(
            spatial_dims=3,
            in_channels=folded,
            out_channels=folded,
            num_res_blocks=num_res_blocks,
            channels=tuple(channels),
            attention_levels=(False,) * len(channels),
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
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
        return mean, deviation

    def decode(self, z: Tensor) -> Tensor:
        """Return images [B, C, X, Y, Z], not clipped, from latents [B, L, x, y, z]."""
        images: Tensor = pixelshuffle(
            self.kl.decode(z), spatial_dims=3, scale_factor=self.stem_factor
        )
        return images

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return reconstruction, posterior mean and deviation for given posterior noise.

        Args:
            images: [B, C, X, Y, Z] in [0, 1].
            noise: Standard normal draws [B, L, x, y, z].
        """
        mean, deviation = self.encode(images)
        return self.decode(mean + deviation * noise), mean, deviation
