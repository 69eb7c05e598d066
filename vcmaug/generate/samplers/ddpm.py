"""DDPM: ancestral sampling, with fresh noise at every step.

References:
    Ho et al. 2020, "Denoising diffusion probabilistic models", arXiv 2006.11239, eq. 7, between any
    two timesteps.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from vcmaug.generate.samplers.base import Position, Sampler
from vcmaug.generate.solvers import ddpm_step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DDPM"]


class DDPM(Sampler):
    """Each step is drawn from the posterior given the predicted z_0."""

    stochastic: ClassVar[bool] = True

    name: Literal["ddpm"] = "ddpm"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, alpha, alpha_next = position.alphas
        return ddpm_step(
            position.z_t, position.z_0, position.fresh, alpha=alpha, alpha_next=alpha_next
        )
