"""The VCM as it was released, faults and all, for its checkpoint and for comparison.

What it is: its condition encoder, U-Net and heads, in the order of the released tensors.
In the flow: `import-weights vcm` fills it; the default VCM is compared with it.
Sources: Ahn et al. 2025, WACV, arXiv 2410.21826, and the shapes of its checkpoint.

Notes:
    An instance normalisation after each head sets the mean of gamma and of beta over a volume to
    zero, so that a new network is not the identity and no global gain can be learnt. The condition
    encoder works at full resolution. The checkpoint also wants latents multiplied by 0.8962649 and
    holds 394,752 weights (`proj_attn`) that nothing uses; they are dropped on import.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.config import Settings
from vcmaug.control.base import ControlNetwork, Steered
from vcmaug.control.encoder import widths_for
from vcmaug.control.unet import AnyGridUNet
from vcmaug.control.vcm import modulated, zero
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.spec import PriorSpec

__all__ = ["RELEASED_SCALE", "VCMReleasedNetwork", "VCMReleasedSettings"]

RELEASED_SCALE = 0.8962649106979370
_ENCODER_GROUPS = 16
_WIDTHS = (16, 32, 48)


class VCMReleasedSettings(Settings):
    """Widths, and the switch that the released checkpoint needs."""

    method: Literal["vcm_released"] = "vcm_released"
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, each halves the grid; None: as needed"
    )
    channels: tuple[int, ...] = (64, 128, 256)
    norm_num_groups: int = Field(32, ge=1)
    hidden_channels: int = Field(128, ge=1)
    head_norm: bool = Field(True, description="instance normalisation of gamma and beta")


class _Block(nn.Module):
    """A residual block; with `down` both branches are averaged to half the grid."""

    def __init__(self, below: int, width: int, *, groups: int, down: bool = False) -> None:
        super().__init__()
        self.down = down
        self.norm1 = nn.GroupNorm(min(groups, below), below, eps=1e-6)
        self.conv1 = nn.Conv3d(below, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(min(groups, width), width, eps=1e-6)
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


class VCMReleasedNetwork(ControlNetwork):
    """(z_t, epsilon_t, encoded condition, t) -> gamma_t, beta_t.

    Args:
        settings: Widths.
        num_structures: K.
        spec: Of the prior.
    """

    def __init__(
        self, settings: VCMReleasedSettings, *, num_structures: int, spec: PriorSpec
    ) -> None:
        super().__init__()
        latent_channels = spec.autoencoder.latent_channels
        widths = widths_for(
            settings.encoder_channels,
            _WIDTHS,
            method=settings.method,
            first=2,
            factor=spec.latent_factor,
        )
        layers: list[nn.Module] = [nn.Conv3d(num_structures, widths[0], 3, padding=1)]
        for below, width in zip([widths[0], *widths], widths, strict=False):
            layers += [
                _Block(below, width, groups=_ENCODER_GROUPS),
                _Block(width, width, groups=_ENCODER_GROUPS),
                _Block(width, width, groups=_ENCODER_GROUPS, down=True),
            ]
        self.encoder = nn.Sequential(*layers)
        levels = len(settings.channels)
        self.unet = AnyGridUNet(
            spatial_dims=3,
            in_channels=2 * latent_channels + widths[-1],
            out_channels=settings.channels[0],
            num_res_blocks=2,
            channels=settings.channels,
            attention_levels=(False,) * (levels - 1) + (True,),
            norm_num_groups=settings.norm_num_groups,
            resblock_updown=True,
            num_head_channels=settings.channels[-1],
            include_fc=False,
        )
        hidden = settings.hidden_channels
        self.shared = nn.Conv3d(settings.channels[0], hidden, 3, padding=1)
        self.gamma_head = nn.Conv3d(hidden, latent_channels, 3, padding=1)
        self.beta_head = nn.Conv3d(hidden, latent_channels, 3, padding=1)
        self.head_norm = nn.InstanceNorm3d(latent_channels) if settings.head_norm else nn.Identity()

    def encode(self, one_hot: Tensor) -> Tensor:
        """Return features [B, channels, x, y, z] of label maps [B, K, X, Y, Z]."""
        features: Tensor = self.encoder(one_hot)
        return features

    def steered(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Context, *, strength: float = 1.0
    ) -> Steered:
        """Return epsilon'; see `ControlNetwork.steered`."""
        assert isinstance(context.encoded, Tensor)  # of its own `encode`
        frozen = denoiser(z_t, t, context).float()
        features = self.unet(torch.cat([z_t, frozen, context.encoded], dim=1), t)
        shared = functional.leaky_relu(self.shared(features), 0.01)
        gamma, beta = (self.head_norm(head(shared)) for head in (self.gamma_head, self.beta_head))
        return modulated(frozen, gamma, beta, strength)
