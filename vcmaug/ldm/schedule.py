"""The schedule in use: what z_t is, and the ways between it, z_0, epsilon and the prediction.

Training adds noise with it and samplers remove it. Scales are kept in double precision.

References:
    Ho et al. 2020, arXiv 2006.11239, eq. 4; Liu et al. 2022, arXiv 2209.03003.

Notes:
    One algebra for all kinds of priors: z_t = s z_0 + n epsilon, and the network predicts
    p = a z_0 + b epsilon. So z_0 = (b z_t - n p) / (s b - n a), and epsilon = (p - a z_0) / b.
"""

import torch
from torch import Tensor

from vcmaug.ldm.noise_schedule import NoiseSchedule

__all__ = ["Schedule"]


class Schedule:
    """The scales of each timestep, and what follows from them.

    Args:
        settings: Of the prior.

    Attributes:
        num_timesteps: T.
        signal: s, float64 [T], falling.
        noise: n, float64 [T], growing.
        of_z_0: a.
        of_epsilon: b.
    """

    def __init__(self, settings: NoiseSchedule) -> None:
        self.num_timesteps = settings.num_timesteps
        self.signal, self.noise = (torch.from_numpy(scale) for scale in settings.scales())
        self.of_z_0, self.of_epsilon = settings.of_z_0, settings.of_epsilon

    def scales(self, t: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise at some timesteps, each [B, 1, 1, 1, 1].

        Args:
            t: Timesteps, long [B].
            like: Gives the type and the device.
        """
        places = t.cpu()
        signal, noise = (
            scale[places].reshape(-1, 1, 1, 1, 1).to(like) for scale in (self.signal, self.noise)
        )
        return signal, noise

    def add_noise(self, z_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """Return z_t = s z_0 + n epsilon, [B, L, x, y, z]."""
        signal, noise = self.scales(t, like=z_0)
        return signal * z_0 + noise * epsilon

    def target(self, z_0: Tensor, epsilon: Tensor) -> Tensor:
        """Return what the network is to predict, [B, L, x, y, z]."""
        return self.of_z_0 * z_0 + self.of_epsilon * epsilon

    def predict_z_0(self, z_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """Return the z_0 [B, L, x, y, z] that z_t and a prediction imply."""
        return self.z_0_at(z_t, prediction, self.scales(t, like=z_t))

    def z_0_at(self, z_t: Tensor, prediction: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
        """Return the same where signal and noise are at hand."""
        signal, noise = scales
        determinant = signal * self.of_epsilon - noise * self.of_z_0
        return (self.of_epsilon * z_t - noise * prediction) / determinant

    def predict_epsilon(self, z_0: Tensor, prediction: Tensor) -> Tensor:
        """Return the epsilon [B, L, x, y, z] that a prediction and its z_0 imply."""
        return (prediction - self.of_z_0 * z_0) / self.of_epsilon

    @property
    def errors_of_z_0(self) -> Tensor:
        """How far z_0 moves with an error of 1 in the prediction, float64 [T]."""
        return (self.noise / (self.signal * self.of_epsilon - self.noise * self.of_z_0)).abs()
