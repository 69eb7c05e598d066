"""The layout: the latents that a label map alone lets one expect.

A head on the condition encoder predicts z_0, and epsilon is shifted as it changes when the
predicted z_0 moves towards another. A VCM trains it beside itself, on the same pairs.

Notes:
    What a label map says about an image is drowned, at every update, by the noise that nobody can
    predict. Predicting z_0 from the map has no such noise: it is learnt in a few hundred updates,
    and leaves the module one thing to learn, namely where and when to follow it.
"""

import torch
from torch import Tensor, nn

from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import ScheduleSettings

__all__ = ["Layout"]

_LARGEST = 3.0  # of sqrt(alpha_bar / (1 - alpha_bar)); near t = 0 the frozen prediction is right


class Layout(nn.Module):
    """Features [B, C, x, y, z] to expected latents [B, L, x, y, z].

    Args:
        in_channels: C.
        latent_shape: [L, x, y, z].
        hidden_channels: Of the two layers between.
        schedule: Of the prior.
    """

    mean: Tensor
    scales: Tensor

    def __init__(
        self,
        *,
        in_channels: int,
        latent_shape: tuple[int, ...],
        hidden_channels: int,
        schedule: ScheduleSettings,
    ) -> None:
        super().__init__()
        latent_channels, *cells = latent_shape
        axes = [torch.linspace(-1, 1, size) for size in cells]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        alphas = Schedule(schedule).alphas_cumprod.float()
        self.register_buffer("places", places, persistent=False)  # [1, 3, x, y, z]
        self.register_buffer("alphas", alphas, persistent=False)
        self.register_buffer("mean", torch.zeros(1, *latent_shape))
        self.layers = nn.Sequential(
            nn.Conv3d(in_channels + 3, hidden_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(hidden_channels, hidden_channels, 3, padding=2, dilation=2),
            nn.SiLU(),
            nn.Conv3d(hidden_channels, latent_channels, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return expected latents [B, L, x, y, z]."""
        places = self.get_buffer("places").expand(len(features), -1, -1, -1, -1)
        change: Tensor = self.layers(torch.cat([features, places], dim=1))
        return self.mean + change

    def away(self, z_t: Tensor, epsilon: Tensor, t: Tensor, expected: Tensor) -> Tensor:
        """Return the frozen prediction of z_0 minus the expected one, [B, L, x, y, z]."""
        alpha = self._alpha(t)
        return (z_t - (1.0 - alpha).sqrt() * epsilon) / alpha.sqrt() - expected

    def as_shift(self, away: Tensor, t: Tensor) -> Tensor:
        """Return the shift of epsilon that takes z_0 all the way to the expected one."""
        alpha = self._alpha(t)
        return away * (alpha / (1.0 - alpha)).sqrt().clamp(max=_LARGEST)

    def _alpha(self, t: Tensor) -> Tensor:
        """Return alpha_bar_t, [B, 1, 1, 1, 1]."""
        return self.get_buffer("alphas")[t].reshape(-1, 1, 1, 1, 1)
