"""MCM in 3D: output modulation with the condition brought to the latent grid by averaging.

It is the U-Net of a VCM without its condition encoder.

References:
    Ham et al. 2023, arXiv 2302.12764.

Notes:
    How the three-dimensional variant beside the released VCM brought its condition to the latent
    grid is not known; here each cell holds the share of its voxels that each structure takes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.network import ControlNetwork, Steered
from vcmaug.control.networks.modulation import modulated, zero
from vcmaug.control.networks.unet import AnyGridUNet
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded
from vcmaug.ldm.spec import PriorSpec
from vcmaug.shapes import as_shape3

__all__ = ["MCMNetwork"]


class MCMNetwork(ControlNetwork):
    """(z_t, epsilon_t, shares of structures, t) -> gamma_t, beta_t.

    Args:
        spec: Of the prior.
        num_structures: K.
        channels: Of each level of the U-Net.
        hidden_channels: Features shared by the heads.
        unet: Further shapes of the U-Net, as MONAI names them.
    """

    def __init__(
        self,
        *,
        spec: PriorSpec,
        num_structures: int,
        channels: Sequence[int],
        hidden_channels: int,
        **unet: Any,
    ) -> None:
        super().__init__()
        latent_channels, *cells = spec.latent_shape
        self.cells = as_shape3(cells)
        width, hidden = channels[0], hidden_channels
        self.unet = AnyGridUNet(
            spatial_dims=3,
            in_channels=2 * latent_channels + num_structures,
            out_channels=width,
            channels=channels,
            resblock_updown=True,
            include_fc=False,
            **unet,
        )
        self.unet.out[-1].conv.reset_parameters()  # the heads start at zero
        self.shared = nn.Sequential(nn.Conv3d(width, hidden, 3, padding=1), nn.LeakyReLU(0.01))
        self.gamma_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))
        self.beta_head = zero(nn.Conv3d(hidden, latent_channels, 3, padding=1))

    def encode(self, shown: Tensor) -> Encoded:
        """Return the share of each latent cell that each structure takes, [B, K, x, y, z]."""
        return Encoded((functional.adaptive_avg_pool3d(shown, self.cells),))

    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        """Return epsilon'; see `ControlNetwork.steered`."""
        frozen = denoiser(z_t, t, context).float()
        shared = self.shared(self.unet(torch.cat([z_t, frozen, *encoded.features], dim=1), t))
        return modulated(frozen, self.gamma_head(shared), self.beta_head(shared), strength)
