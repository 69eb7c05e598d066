"""ControlNet-lite and -mlp: the skips of a U-Net from plain convolutions over the condition.

References:
    Zhang et al. 2023, arXiv 2302.05543 (the ablation with a lighter encoder).

Notes:
    z_t, the timestep and the scalars are not looked at: what is added is the same at every step,
    and made once per sample. The released variants hold a time embedding of 1,312,768 parameters
    that reaches nothing (at the width of BrainLDM); it is left out here.
"""

from collections.abc import Sequence

from monai.networks.nets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.networks.controlnet import WIDTHS
from vcmaug.control.networks.encoder import widths_for
from vcmaug.control.networks.fusion import FusionNetwork
from vcmaug.control.networks.modulation import zero
from vcmaug.ldm.denoiser import Context, Encoded, Features
from vcmaug.ldm.spec import PriorSpec

__all__ = ["ControlNetLiteNetwork"]


class ControlNetLiteNetwork(FusionNetwork):
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
                encoder_channels,
                WIDTHS,
                method=method,
                first=1,
                factor=spec.latent_factor,
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

    def encode(self, shown: Tensor) -> Encoded:
        """Return residuals of every skip and, last, of the middle, for maps [B, K, X, Y, Z]."""
        h = self.encoder(shown)
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
