"""Heun: a deterministic sampler of second order that asks the network twice per step.

References:
    Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", arXiv
    2206.00364, algorithm 1.
"""

from typing import TYPE_CHECKING, Literal

from vcmaug.generate.samplers.base import Position, Sampler
from vcmaug.generate.solvers import ddim_step, heun_step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Heun"]


class Heun(Sampler):
    """The mean of the slopes at both ends of a step."""

    name: Literal["heun"] = "heun"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, alpha, alpha_next = position.alphas
        z_next = ddim_step(position.z_0, position.epsilon, alpha_next=alpha_next)
        epsilon_next = position.predict_next(z_next)
        return heun_step(
            position.z_t, position.epsilon, epsilon_next, alpha=alpha, alpha_next=alpha_next
        )
