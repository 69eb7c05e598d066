"""ControlNet: a trainable copy of the prior's encoder whose outputs are added to skips and middle.

References:
    Zhang et al. 2023, arXiv 2302.05543.

Notes:
    It sees z_t and the scalars as the prior's U-Net does, so that its first convolution can start
    as the prior's as well. The released code around VCM lacks the copying of weights.
"""

from collections.abc import Sequence

from monai.networks.nets import ControlNet
from torch import Tensor, nn

from vcmaug.control.networks.encoder import widths_for
from vcmaug.control.networks.fusion import FusionNetwork
from vcmaug.ldm.denoiser import Context, Encoded, Features, with_scalars
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.spec import PriorSpec

__all__ = ["WIDTHS", "ControlNetNetwork"]

WIDTHS = (16, 32, 96, 256)
"""Of the condition's encoder at the latent factor of BrainLDM."""


class ControlNetNetwork(FusionNetwork):
    """The trainable copy.

    Args:
        spec: Of the prior.
        num_structures: K.
        encoder_channels: Widths of the condition's encoder; None: as many as are needed.
    """

    method = "controlnet"

    def __init__(
        self,
        *,
        spec: PriorSpec,
        num_structures: int,
        encoder_channels: Sequence[int] | None,
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
                encoder_channels,
                WIDTHS,
                method=self.method,
                first=1,
                factor=spec.latent_factor,
            ),
        )
        self.encoder = self.net.controlnet_cond_embedding  # run once per sample, not per step
        self.net.controlnet_cond_embedding = nn.Identity()

    def start_from_prior(self, prior: Prior) -> None:
        """Copy the weights of the prior's encoder and middle."""
        unet = prior.denoiser.unet.unet
        for name in ("conv_in", "time_embed", "down_blocks", "middle_block"):
            getattr(self.net, name).load_state_dict(getattr(unet, name).state_dict())

    def encode(self, shown: Tensor) -> Encoded:
        """Return label maps [B, K, X, Y, Z] as features on the latent grid."""
        return Encoded((self.encoder(shown),))

    def features(self, z_t: Tensor, t: Tensor, *, context: Context, encoded: Encoded) -> Features:
        """Return residuals of every skip and of the middle."""
        scalars = context.scalars
        skips, mid = self.net(
            with_scalars(z_t, scalars),
            t,
            *encoded.features,
            context=None if scalars is None else scalars[:, None, :],
        )
        return Features(skips=tuple(skips), mid=mid)
