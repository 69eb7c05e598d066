"""DPM-Solver++(2M) of the reverse SDE: multistep, with fresh noise at every step.

References:
    Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
    models", arXiv 2211.01095, appendix.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from vcmaug.generate.samplers.base import Position, Sampler
from vcmaug.generate.solvers import dpmpp_2m_sde_step

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DPMpp2MSDE"]


class DPMpp2MSDE(Sampler):
    """The stochastic form of DPM-Solver++(2M)."""

    stochastic: ClassVar[bool] = True

    name: Literal["dpm++2m-sde"] = "dpm++2m-sde"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        return dpmpp_2m_sde_step(
            position.z_t,
            position.z_0,
            position.previous_z_0,
            position.fresh,
            alphas=position.alphas,
        )
