"""DPM-Solver++(2M): a deterministic multistep sampler of second order.

References:
    Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
    models", arXiv 2211.01095, algorithm 2.
"""

from typing import TYPE_CHECKING, Literal

from vcmaug.generate.samplers.base import Position, Sampler
from vcmaug.generate.solvers import dpmpp_2m_step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DPMpp2M"]


class DPMpp2M(Sampler):
    """The predicted z_0 is extrapolated along its last change."""

    name: Literal["dpm++2m"] = "dpm++2m"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        return dpmpp_2m_step(
            position.z_t, position.z_0, position.previous_z_0, alphas=position.alphas
        )
