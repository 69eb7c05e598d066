"""T2I-Adapter: features of the condition, added to the encoder of the prior's U-Net.

A pixel-unshuffle and three residual blocks per level, computed once per sample.

References:
    Mou et al. 2023, arXiv 2302.08453.

Notes:
    The released variant expects a condition that is on the latent grid already and has no code that
    adds its features. Here a pixel-unshuffle by the latent factor brings the condition there, as in
    the original, and each level's features are added to the last ones of that level, before the
    grid is halved. A gain per level starts at zero, so that a new adapter adds nothing.
"""

import torch
from monai.networks.utils import pixelunshuffle
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.networks.fusion import FusionNetwork
from vcmaug.ldm.denoiser import Context, Encoded, Features
from vcmaug.ldm.spec import PriorSpec

__all__ = ["T2IAdapterNetwork"]

_BLOCKS = 3  # per level


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


class T2IAdapterNetwork(FusionNetwork):
    """The adapter.

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

    def encode(self, shown: Tensor) -> Encoded:
        """Return what is added to each level of the encoder, for label maps [B, K, X, Y, Z]."""
        h = self.enter(pixelunshuffle(shown, spatial_dims=3, scale_factor=self.factor))
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
