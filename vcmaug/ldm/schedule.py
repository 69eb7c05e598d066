"""The noise schedule: what z_t is, and the ways between epsilon, z_0 and v.

Training adds noise with it and samplers remove it. alpha_bar is kept in double precision.

References:
    Ho et al. 2020, arXiv 2006.11239, eq. 4; Rombach et al. 2022, arXiv 2112.10752 (scaled linear
    betas); Salimans and Ho 2022, arXiv 2202.00512, appendix D (v).
"""

import torch
from torch import Tensor

from vcmaug.ldm.spec import ScheduleSettings

__all__ = ["Schedule"]


class Schedule:
    """alpha_bar_t for t = 0 .. T - 1, and what follows from it.

    Args:
        settings: The growth of beta.

    Attributes:
        num_timesteps: T.
        alphas_cumprod: alpha_bar, float64 [T], falling.
    """

    def __init__(self, settings: ScheduleSettings) -> None:
        self.num_timesteps = settings.num_timesteps
        power = 0.5 if settings.kind == "scaled_linear" else 1.0
        betas = torch.linspace(
            settings.beta_start**power,
            settings.beta_end**power,
            settings.num_timesteps,
            dtype=torch.float64,
        ) ** (1 / power)
        self.alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)

    def scales(self, t: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), each [B, 1, 1, 1, 1].

        Args:
            t: Timesteps, long [B].
            like: Gives the type and the device.
        """
        alpha_bar = self.alphas_cumprod[t.cpu()].reshape(-1, 1, 1, 1, 1)  # [B, 1, 1, 1, 1]
        return alpha_bar.sqrt().to(like), (1.0 - alpha_bar).sqrt().to(like)

    def add_noise(self, z_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Return z_t = sqrt(alpha_bar) z_0 + sqrt(1 - alpha_bar) epsilon, [B, L, x, y, z]."""
        signal, noise = self.scales(t, like=z_0)
        return signal * z_0 + noise * epsilon

    def predict_z_0(self, z_t: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Return the z_0 [B, L, x, y, z] that z_t and epsilon imply."""
        signal, noise = self.scales(t, like=z_t)
        return (z_t - noise * epsilon) / signal

    def predict_epsilon(self, z_t: Tensor, z_0: Tensor, t: Tensor) -> Tensor:
        """Return the epsilon [B, L, x, y, z] that z_t and z_0 imply."""
        signal, noise = self.scales(t, like=z_t)
        return (z_t - signal * z_0) / noise

    def velocity(self, z_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Return v = sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) z_0, [B, L, x, y, z]."""
        signal, noise = self.scales(t, like=z_0)
        return signal * epsilon - noise * z_0

    def epsilon_from_velocity(self, z_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """Return the epsilon [B, L, x, y, z] that z_t and v imply."""
        signal, noise = self.scales(t, like=z_t)
        return noise * z_t + signal * velocity
