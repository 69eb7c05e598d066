"""MCM in 3D: output modulation with the condition brought to the latent grid by averaging.

What it is: the U-Net of a VCM without its condition encoder.
In the flow: one of the controls that VCM is compared with; the nearest to it.
Sources: Ham et al. 2023, arXiv 2302.12764.

Notes:
    How the three-dimensional variant beside the released VCM brought its condition to the latent
    grid is not known; here each cell holds the share of its voxels that each structure takes.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.config import Settings
from vcmaug.control.base import ControlNetwork, Steered
from vcmaug.control.unet import AnyGridUNet
from vcmaug.control.vcm import modulated, zero
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.spec import PriorSpec
from vcmaug.shapes import as_shape3

__all__ = ["MCMNetwork", "MCMSettings"]


class MCMSettings(Settings):
    """The U-Net."""

    method: Literal["mcm"] = "mcm"
    channels: tuple[int, ...] = (64, 128, 256)
    attention_levels: tuple[bool, ...] = (False, True, True)
    num_res_blocks: int = Field(2, ge=1)
    num_head_channels: int | tuple[int, ...] = (0, 128, 256)
    hidden_channels: int = Field(128, ge=1, description="features shared by the two heads")
    norm_num_groups: int = Field(32, ge=1)


class MCMNetwork(ControlNetwork):
    """(z_t, epsilon_t, shares of structures, t) -> gamma_t, beta_t.

    Args:
        settings: Shapes of the U-Net.
        num_structures: K.
        spec: Of the prior.
    """

    def __init__(self, settings: MCMSettings, *, num_structures: int, spec: PriorSpec) -> None:
        super().__init__()
        latent_channels, *cells = spec.latent_shape
        self.cells = as_shape3(cells)
        width, hidden = settings.channels[0], settings.hidden_channels
        self.unet = AnyGridUNet(
            spatial_dims=3,
            in_channels=2 * latent_channels + num_structures,
            out_channels=width,
            num_res_blocks=settings.num_res_blocks,
            channels=settings.channels,
            attention_levels=settings.attention_levels,
            norm_num_groups=settings.norm_num_groups,
            resblock_updown=True,
            num_head_channels=settings.num_head_channels,
            include_fc=False,
        )
        self.unet.out[-1].conv.reset_parameters()  # the heads start at zero
        self.shared = nn.Sequential(nn.Conv3d(width, hidden, 3, padding=1), nn.LeakyReLU(0.01))
        self.gamma_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        self.beta_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))

    def encode(self, one_hot: Tensor) -> Tensor:
        """Return the share of each latent cell that each structure takes, [B, K, x, y, z]."""
        return functional.adaptive_avg_pool3d(one_hot, self.cells)

    def steered(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, context: Context, *, strength: float = 1.0
    ) -> Steered:
        """Return epsilon'; see `ControlNetwork.steered`."""
        assert isinstance(context.encoded, Tensor)  # of its own `encode`
        frozen = denoiser(z_t, t, context).float()
        shared = self.shared(self.unet(torch.cat([z_t, frozen, context.encoded], dim=1), t))
        return modulated(frozen, self.gamma_head(shared), self.beta_head(shared), strength)
