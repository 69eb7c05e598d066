"""DDIM: the deterministic sampler of first order.

References:
    Song et al. 2021, "Denoising diffusion implicit models", arXiv 2010.02502, eq. 12, eta = 0.
"""

from typing import TYPE_CHECKING, Literal

from vcmaug.generate.samplers.base import Position, Sampler
from vcmaug.generate.solvers import ddim_step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DDIM"]


class DDIM(Sampler):
    """The predicted noise is put back into the predicted z_0."""

    name: Literal["ddim"] = "ddim"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        return ddim_step(position.z_0, position.epsilon, alpha_next=position.alphas[2])
