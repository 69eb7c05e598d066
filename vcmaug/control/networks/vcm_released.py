"""The network of the VCM as it was released, its layers in the order of the released tensors.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826, and the shapes of its checkpoint.

Notes:
    An instance normalisation after each head sets the mean of gamma and of beta over a volume to
    zero, so that a new network is not the identity and no global gain can be learnt. The condition
    encoder works at full resolution. The checkpoint also wants latents multiplied by 0.8962649 and
    holds 394,752 weights (`proj_attn`) that nothing uses; they are dropped on import.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.network import ModulatingNetwork, zero
from vcmaug.control.networks.encoder import widths_for
from vcmaug.control.networks.vcm import AnyGridUNet
from vcmaug.ldm.denoiser import Encoded
from vcmaug.ldm.spec import PriorSpec

__all__ = ["RELEASED_SCALE", "VCMReleasedNetwork"]

RELEASED_SCALE = 0.8962649106979370
_ENCODER_GROUPS = 16
_WIDTHS = (16, 32, 48)


class _Block(nn.Module):
    """A residual block; with `down` both branches are averaged to half the grid."""

    def __init__(self, below: int, width: int, *, down: bool = False) -> None:
        super().__init__()
        self.down = down
        self.norm1 = nn.GroupNorm(min(_ENCODER_GROUPS, below), below, eps=1e-6)
        self.conv1 = nn.Conv3d(below, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(min(_ENCODER_GROUPS, width), width, eps=1e-6)
        self.conv2 = zero(nn.Conv3d(width, width, 3, padding=1))
        self.skip = nn.Conv3d(below, width, 1) if below != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return features [B, width, x, y, z]."""
        h = functional.silu(self.norm1(x))
        if self.down:
            x, h = functional.avg_pool3d(x, 2), functional.avg_pool3d(h, 2)
        h = self.conv2(functional.silu(self.norm2(self.conv1(h))))
        result: Tensor = self.skip(x) + h
        return result


class VCMReleasedNetwork(ModulatingNetwork):
    """(z_t, epsilon_t, encoded condition, t) -> gamma_t, beta_t.

    Args:
        spec: Of the prior.
        num_structures: K.
        encoder_channels: Widths of the condition's encoder; None: as many as are needed.
        channels: Of each level of the U-Net.
        norm_num_groups: Of the U-Net.
        hidden_channels: Features shared by the heads.
        head_norm: Instance normalisation of gamma and beta.
    """

    def __init__(
        self,
        *,
        spec: PriorSpec,
        num_structures: int,
        encoder_channels: Sequence[int] | None,
        channels: Sequence[int],
        norm_num_groups: int,
        hidden_channels: int,
        head_norm: bool,
    ) -> None:
        super().__init__()
        latent_channels = spec.autoencoder.latent_channels
        widths = widths_for(
            encoder_channels, _WIDTHS, method="vcm_released", first=2, factor=spec.latent_factor
        )
        layers: list[nn.Module] = [nn.Conv3d(num_structures, widths[0], 3, padding=1)]
        for below, width in zip([widths[0], *widths], widths, strict=False):
            layers += [_Block(below, width), _Block(width, width), _Block(width, width, down=True)]
        self.encoder = nn.Sequential(*layers)
        self.unet = AnyGridUNet(
            starts_at_zero=True,
            in_channels=2 * latent_channels + widths[-1],
            out_channels=channels[0],
            num_res_blocks=2,
            channels=channels,
            attention_levels=(*(False for _ in channels[1:]), True),
            norm_num_groups=norm_num_groups,
            num_head_channels=channels[-1],
            include_fc=False,
        )
        self.shared = nn.Conv3d(channels[0], hidden_channels, 3, padding=1)
        self.gamma_head = nn.Conv3d(hidden_channels, latent_channels, 3, padding=1)
        self.beta_head = nn.Conv3d(hidden_channels, latent_channels, 3, padding=1)
        self.head_norm = nn.InstanceNorm3d(latent_channels) if head_norm else nn.Identity()

    def encode(self, channels: Tensor) -> Encoded:
        """Return features [B, channels, x, y, z] of label maps [B, K, X, Y, Z]."""
        return Encoded((self.encoder(channels),))

    def modulation(
        self, z_t: Tensor, frozen: Tensor, *, t: Tensor, encoded: Encoded
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t, each [B, L, x, y, z], normalised unless that is off."""
        features = self.unet(torch.cat([z_t, frozen, *encoded.features], dim=1), t)
        shared = functional.leaky_relu(self.shared(features), 0.01)
        return self.head_norm(self.gamma_head(shared)), self.head_norm(self.beta_head(shared))
