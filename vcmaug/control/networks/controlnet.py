"""The networks that add features inside the frozen U-Net: ControlNet, its light kin, T2I-Adapter.

References:
    Zhang et al. 2023, arXiv 2302.05543 (ControlNet, and the ablation with a lighter encoder); Mou
    et al. 2023, arXiv 2302.08453 (T2I-Adapter).

Notes:
    A ControlNet sees z_t and the scalars as the prior's U-Net does, so that its first convolution
    can start as the prior's as well. The released code around VCM lacks the copying of weights.

    The light ones and the adapter look at the condition alone: what they add is the same at every
    step, and made once per sample. The released light variants hold a time embedding of 1,312,768
    parameters that reaches nothing (at the width of BrainLDM); it is left out here. The released
    adapter expects a condition that is on the latent grid already and has no code that adds its
    features. Here a pixel-unshuffle by the latent factor brings the condition there, as in the
    original, and each level's features are added to the last ones of that level, before the grid is
    halved. A gain per level starts at zero, so that a new adapter adds nothing.
"""

from collections.abc import Sequence

import torch
from monai.networks.nets import ControlNet
from monai.networks.nets.controlnet import ControlNetConditioningEmbedding
from monai.networks.utils import pixelunshuffle
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.network import FusingNetwork, zero
from vcmaug.control.networks.encoder import widths_for
from vcmaug.ldm.denoiser import Context, Encoded, Features, with_scalars
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.spec import PriorSpec

__all__ = ["ControlNetLiteNetwork", "ControlNetNetwork", "T2IAdapterNetwork"]

_WIDTHS = (16, 32, 96, 256)  # of the condition's encoder at the latent factor of BrainLDM
_BLOCKS = 3  # per level of an adapter


class ControlNetNetwork(FusingNetwork):
    """A trainable copy of the prior's encoder; its outputs go to skips and middle.

    Args:
        spec: Of the prior.
        num_structures: K.
        encoder_channels: Widths of the condition's encoder; None: as many as are needed.
    """

    method = "controlnet"

    def __init__(
        self, *, spec: PriorSpec, num_structures: int, encoder_channels: Sequence[int] | None
    ) -> None:
        super().__init__()
        num_scalars = len(spec.scalars)
        self.net = ControlNet(
            spatial_dims=3,
            in_channels=spec.autoencoder.latent_channels + num_scalars,
            resblock_updown=True,
            with_conditioning=num_scalars > 0,
            cross_attention_dim=num_scalars or None,
            **spec.diffusion.model_dump(),
            conditioning_embedding_in_channels=num_structures,
            conditioning_embedding_num_channels=widths_for(
                encoder_channels, _WIDTHS, method=self.method, first=1, factor=spec.latent_factor
            ),
        )
        self.encoder = self.net.controlnet_cond_embedding  # run once per sample, not per step
        self.net.controlnet_cond_embedding = nn.Identity()

    def start_from_prior(self, prior: Prior) -> None:
        """Copy the weights of the prior's encoder and middle."""
        unet = prior.denoiser.unet.unet
        for name in ("conv_in", "time_embed", "down_blocks", "middle_block"):
            getattr(self.net, name).load_state_dict(getattr(unet, name).state_dict())

    def encode(self, channels: Tensor) -> Encoded:
        """Return label maps [B, K, X, Y, Z] as features on the latent grid."""
        return Encoded((self.encoder(channels),))

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


class ControlNetLiteNetwork(FusingNetwork):
    """Convolutions over the condition, with outputs that start at zero.

    Args:
        method: Name of the one of the two, for messages.
        encoder_channels: Widths of the condition's encoder; None: as many as are needed.
        kernel_size: Of the convolutions, 3 or 1.
        num_structures: K.
        spec: Of the prior.
    """

    def __init__(
        self,
        *,
        method: str,
        encoder_channels: Sequence[int] | None,
        kernel_size: int,
        num_structures: int,
        spec: PriorSpec,
    ) -> None:
        super().__init__()
        self.method, padding = method, kernel_size // 2
        own = spec.diffusion
        self.num_res_blocks = own.num_res_blocks
        self.encoder = ControlNetConditioningEmbedding(
            spatial_dims=3,
            in_channels=num_structures,
            out_channels=own.channels[0],
            channels=widths_for(
                encoder_channels, _WIDTHS, method=method, first=1, factor=spec.latent_factor
            ),
        )
        widths = [width for width in own.channels for _ in range(own.num_res_blocks)]
        self.blocks = nn.ModuleList(
            nn.Conv3d(below, width, kernel_size, padding=padding)
            for below, width in zip([own.channels[0], *widths], widths, strict=False)
        )
        self.middle = nn.Conv3d(own.channels[-1], own.channels[-1], kernel_size, padding=padding)
        self.outs = nn.ModuleList(
            zero(nn.Conv3d(n, n, 1)) for n in _skip_widths(own.channels, own.num_res_blocks)
        )
        self.out_middle = zero(nn.Conv3d(own.channels[-1], own.channels[-1], 1))

    def encode(self, channels: Tensor) -> Encoded:
        """Return residuals of every skip and, last, of the middle, for maps [B, K, X, Y, Z]."""
        h = self.encoder(channels)
        passed = [h]
        for number, block in enumerate(self.blocks):
            level, place = divmod(number, self.num_res_blocks)
            if level > 0 and place == 0:
                h = functional.avg_pool3d(h, 2)
                passed.append(h)
            h = functional.silu(block(h))
            passed.append(h)
        skips = [out(one) for out, one in zip(self.outs, passed, strict=True)]
        return Encoded((*skips, self.out_middle(functional.silu(self.middle(h)))))

    def features(self, z_t: Tensor, t: Tensor, *, context: Context, encoded: Encoded) -> Features:
        """Return what `encode` gave; z_t and t are not looked at."""
        *skips, mid = encoded.features
        return Features(skips=tuple(skips), mid=mid)


def _skip_widths(channels: Sequence[int], num_res_blocks: int) -> list[int]:
    """Return the channels of each skip connection, in the order of the encoder."""
    widths = [channels[0]]
    for level, width in enumerate(channels):
        if level > 0:
            widths.append(channels[level - 1])
        widths += [width] * num_res_blocks
    return widths


class _Block(nn.Module):
    """A convolution, and a residual pair behind it."""

    def __init__(self, below: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv3d(below, width, 3, padding=1)
        self.first = nn.Conv3d(width, width, 3, padding=1)
        self.second = nn.Conv3d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features [B, width, x, y, z]."""
        entered: Tensor = self.enter(features)
        change: Tensor = self.second(functional.relu(self.first(entered)))
        return entered + change


class T2IAdapterNetwork(FusingNetwork):
    """A pixel-unshuffle and three residual blocks per level, computed once per sample.

    Args:
        num_structures: K.
        spec: Of the prior.
    """

    method = "t2i_adapter"

    def __init__(self, *, num_structures: int, spec: PriorSpec) -> None:
        super().__init__()
        self.factor = spec.latent_factor
        widths = spec.diffusion.channels
        self.enter = nn.Conv3d(num_structures * self.factor**3, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(
            nn.Conv3d(width, width, 3, stride=2, padding=1) for width in widths[:-1]
        )
        self.levels = nn.ModuleList(
            nn.Sequential(
                *(_Block(below if number == 0 else width, width) for number in range(_BLOCKS))
            )
            for below, width in zip([widths[0], *widths], widths, strict=False)
        )
        self.gains = nn.ParameterList(torch.zeros(1) for _ in widths)

    def encode(self, channels: Tensor) -> Encoded:
        """Return what is added to each level of the encoder, for label maps [B, K, X, Y, Z]."""
        h = self.enter(pixelunshuffle(channels, spatial_dims=3, scale_factor=self.factor))
        found = []
        for number, (level, gain) in enumerate(zip(self.levels, self.gains, strict=True)):
            if number > 0:
                h = self.downs[number - 1](h)
            h = level(h)
            found.append(gain * h)
        return Encoded(tuple(found))

    def features(self, z_t: Tensor, t: Tensor, *, context: Context, encoded: Encoded) -> Features:
        """Return what `encode` gave; z_t and t are not looked at."""
        return Features(levels=encoded.features)
