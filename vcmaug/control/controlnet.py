"""ControlNet: a trainable copy of the prior's encoder whose outputs are added to skips and middle.

What it is: MONAI's ControlNet around a label map, started from the prior.
In the flow: one of the controls that VCM is compared with.
Sources: Zhang et al. 2023, arXiv 2302.05543.

Notes:
    It sees z_t and the scalars as the prior's U-Net does, so that its first convolution can start
    as the prior's as well. The released code around VCM lacks the copying of weights.
"""

from typing import Literal

from monai.networks.nets import ControlNet
from pydantic import Field
from torch import Tensor, nn

from vcmaug.config import Settings
from vcmaug.control.encoder import widths_for
from vcmaug.control.fusion import FusionNetwork, frozen_unet_of
from vcmaug.ldm.denoiser import Context, Denoiser, Features, with_scalars
from vcmaug.ldm.spec import PriorSpec

__all__ = ["WIDTHS", "ControlNetNetwork", "ControlNetSettings"]

WIDTHS = (16, 32, 96, 256)
"""Of the condition's encoder at the latent factor of BrainLDM."""


class ControlNetSettings(Settings):
    """The one part of a ControlNet that the prior does not decide."""

    method: Literal["controlnet"] = "controlnet"
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )


class ControlNetNetwork(FusionNetwork):
    """The trainable copy.

    Args:
        settings: Channels of the condition's encoder.
        num_structures: K.
        spec: Of the prior.
    """

    method = "controlnet"

    def __init__(
        self, settings: ControlNetSettings, *, num_structures: int, spec: PriorSpec
    ) -> None:
        super().__init__()
        own = spec.diffusion
        num_scalars = len(spec.scalars)
        self.net = ControlNet(
            spatial_dims=3,
            in_channels=spec.autoencoder.latent_channels + num_scalars,
            num_res_blocks=own.num_res_blocks,
            channels=own.channels,
            attention_levels=own.attention_levels,
            norm_num_groups=own.norm_num_groups,
            resblock_updown=True,
            num_head_channels=own.num_head_channels,
            with_conditioning=num_scalars > 0,
            cross_attention_dim=num_scalars or None,
            upcast_attention=own.upcast_attention,
            conditioning_embedding_in_channels=num_structures,
            conditioning_embedding_num_channels=widths_for(
                settings.encoder_channels,
                WIDTHS,
                method=settings.method,
                first=1,
                factor=spec.latent_factor,
            ),
        )
        self.encoder = self.net.controlnet_cond_embedding  # run once per sample, not per step
        self.net.controlnet_cond_embedding = nn.Identity()

    def start_from_prior(self, denoiser: Denoiser) -> None:
        """Copy the weights of the prior's encoder and middle."""
        unet = frozen_unet_of(denoiser, method=self.method).unet.unet
        for name in ("conv_in", "time_embed", "down_blocks", "middle_block"):
            getattr(self.net, name).load_state_dict(getattr(unet, name).state_dict())

    def encode(self, one_hot: Tensor) -> Tensor:
        """Return label maps [B, K, X, Y, Z] as features on the latent grid."""
        features: Tensor = self.encoder(one_hot)
        return features

    def features(self, z_t: Tensor, t: Tensor, context: Context) -> Features:
        """Return residuals of every skip and of the middle."""
        scalars = context.scalars
        skips, mid = self.net(
            with_scalars(z_t, scalars),
            t,
            context.encoded,
            context=None if scalars is None else scalars[:, None, :],
        )
        return Features(skips=tuple(skips), mid=mid)
