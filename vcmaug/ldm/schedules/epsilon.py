"""The variance-preserving schedule, along which a network predicts the noise.

References:
    Ho et al. 2020, arXiv 2006.11239, eq. 4; Rombach et al. 2022, arXiv 2112.10752 (scaled linear
    betas).
"""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.ldm.noise_schedule import NoiseSchedule

__all__ = ["EpsilonSchedule"]


class EpsilonSchedule(NoiseSchedule):
    """signal = sqrt(alpha_bar), noise = sqrt(1 - alpha_bar); the network predicts epsilon.

    Beta grows over the timesteps; the defaults are those of BrainLDM.
    """

    of_z_0: ClassVar[float] = 0.0
    of_epsilon: ClassVar[float] = 1.0
    starts_at: ClassVar[float] = 0.16  # above it whole images come out too bright or too dark

    name: Literal["epsilon"] = "epsilon"
    beta_start: float = Field(0.0015, gt=0, lt=1)
    beta_end: float = Field(0.0205, gt=0, lt=1)
    kind: Literal["scaled_linear", "linear"] = "scaled_linear"

    def scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return sqrt(alpha_bar) and sqrt(1 - alpha_bar), each [T]."""
        power = 0.5 if self.kind == "scaled_linear" else 1.0
        ends = self.beta_start**power, self.beta_end**power
        betas = np.linspace(*ends, self.num_timesteps) ** (1 / power)
        alpha_bar = np.cumprod(1.0 - betas)
        return np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)
