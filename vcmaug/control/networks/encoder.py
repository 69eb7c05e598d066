"""The condition encoder: a one-hot label map brought down to the latent grid.

A space-to-depth stem, residual blocks and strided convolutions, no attention. It runs once per
sample; its output stands beside z_t and epsilon in every step.

References:
    Ahn et al. 2025, arXiv 2410.21826 (the encoder in front of the latent U-Net that makes it
    asymmetric); Shi et al. 2016, arXiv 1609.05158 (the stem).

Notes:
    The paper's figure lets the time embedding enter the encoder. Here it does so only if asked,
    since without it the condition is encoded once per sample and not once per step.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from monai.networks.blocks.segresnet_block import ResBlock
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from monai.networks.utils import pixelunshuffle
from torch import Tensor, nn

from vcmaug.errors import ModelError

__all__ = ["ConditionEncoder", "ChannelEncoders", "widths_for"]

_FREQUENCIES = 64  # of the embedding of a timestep


def widths_for(
    asked: Sequence[int] | None, defaults: Sequence[int], *, method: str, first: int, factor: int
) -> tuple[int, ...]:
    """Return the widths of an encoder that ends on the latent grid.

    Args:
        asked: Of the settings; None takes as many of the defaults as are needed.
        defaults: From the finest level down.
        method: For messages.
        first: Voxels per cell of the first level; each further level halves the grid.
        factor: Voxels per latent cell along one axis.

    Raises:
        ModelError: The widths asked for end on another grid.
    """
    widths = tuple(asked or defaults)
    if asked is None:
        needed = max(1, round(math.log2(factor / first)) + 1)
        widths = (widths + widths[-1:] * needed)[:needed]
    reached = first * 2 ** (len(widths) - 1)
    if reached != factor:
        raise ModelError(
            f"building {method}: its condition encoder shrinks by {reached}, the prior's latents "
            f"by {factor}. Change the number of encoder_channels, or leave them out."
        )
    return widths


class ConditionEncoder(nn.Module):
    """Label map [B, K, X, Y, Z] to features [B, channels[-1], x, y, z].

    Args:
        num_structures: K.
        stem_factor: Edge of the block of voxels folded into channels.
        channels: Features at the stem's grid and after each halving; the latent factor is
            stem_factor * 2**(len(channels) - 1).
        num_res_blocks: Residual blocks per level.
        norm_num_groups: Groups of the group normalisation.
        timed: Every level is shifted by an embedding of the timestep.
    """

    def __init__(
        self,
        *,
        num_structures: int,
        stem_factor: int,
        channels: Sequence[int],
        num_res_blocks: int,
        norm_num_groups: int,
        timed: bool = False,
    ) -> None:
        super().__init__()
        self.stem_factor = stem_factor
        norm = ("GROUP", {"num_groups": norm_num_groups})
        act = "SWISH"
        widths = [num_structures * stem_factor**3, *channels]
        layers: list[nn.Module] = []
        for level, (below, width) in enumerate(zip(widths, channels, strict=False)):
            layers.append(nn.Conv3d(below, width, 3, stride=1 if level == 0 else 2, padding=1))
            layers += [ResBlock(3, width, norm=norm, act=act) for _ in range(num_res_blocks)]
        self.layers = nn.Sequential(*layers)
        self.shifts = nn.ModuleList(  # of embedded timesteps [B, frequencies] to [B, width]
            nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
            for width in (channels if timed else ())
        )

    def forward(self, one_hot: Tensor, t: Tensor | None = None) -> Tensor:
        """Return features [B, channels[-1], x, y, z].

        Args:
            one_hot: Label maps [B, K, X, Y, Z].
            t: Timesteps, long [B]; looked at by a timed encoder alone.
        """
        features: Tensor = pixelunshuffle(one_hot, spatial_dims=3, scale_factor=self.stem_factor)
        shifts = iter(self.shifts)
        for layer in self.layers:
            features = layer(features)
            if t is not None and self.shifts and isinstance(layer, nn.Conv3d):
                shift = next(shifts)(get_timestep_embedding(t, _FREQUENCIES).to(features.device))
                features = features + shift[:, :, None, None, None]
        return features


class ChannelEncoders(nn.Module):
    """One encoder per channel of a condition; features are averaged over those that are there.

    Args:
        parts: Where each channel lies in the tensor, its last component a mask of what is known.
        encoder: Makes the encoder of a channel from its number of components.
    """

    def __init__(
        self, parts: Mapping[str, slice], encoder: Callable[..., ConditionEncoder]
    ) -> None:
        super().__init__()
        self.parts = dict(parts)
        self.encoders = nn.ModuleDict(
            {name: encoder(num_structures=part.stop - part.start) for name, part in parts.items()}
        )

    def forward(self, channels: Tensor, t: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return features [B, C, x, y, z], and where anything is there, [B, 1, 1, 1, 1]."""
        total, count = torch.zeros(()), torch.zeros(())
        for name, encoder in self.encoders.items():
            block = channels[:, self.parts[name]]
            there = (block[:, -1:].amax(dim=(2, 3, 4), keepdim=True) > 0).float()  # [B,1,1,1,1]
            features = encoder(block, t)
            total, count = total + there * features, count + there
        return total / count.clamp(min=1.0), (count > 0).float()
