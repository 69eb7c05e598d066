"""The rectified flow: straight paths from latents to noise; a network predicts the velocity.

References:
    Liu et al. 2022, "Flow straight and fast", arXiv 2209.03003; Lipman et al. 2022, arXiv
    2210.02747; Esser et al. 2024, arXiv 2403.03206, section 5.3.2 (shift by resolution); MONAI,
    `RFlowScheduler` (sign of the velocity, reference grid of the shift).
"""

import math
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from vcmaug.ldm.noise_schedule import NoiseSchedule, Spread
from vcmaug.shapes import Shape3

__all__ = ["FlowSchedule"]

_CELLS = 32**3  # of the grid whose shift is 1


class FlowSchedule(NoiseSchedule):
    """signal = 1 - time, noise = time; the network predicts the velocity z_0 - epsilon.

    Timestep k stands for u = (k + 1) / T, and time = shift u / (1 + (shift - 1) u).

    Examples:
        >>> signal, noise = FlowSchedule(num_timesteps=4).scales()
        >>> [float(value) for value in noise]
        [0.25, 0.5, 0.75, 1.0]
        >>> FlowSchedule(shift="by-grid").on_grid((16, 16, 16)).shift
        0.5
    """

    of_z_0: ClassVar[float] = 1.0
    of_epsilon: ClassVar[float] = -1.0
    spread: ClassVar[Spread] = "logit-normal"  # the best of those in recipes/hippocampus/LOG.md
    starts_at: ClassVar[float] = 0.04

    name: Literal["flow"] = "flow"
    shift: float | Literal["by-grid"] = Field(
        1.0,
        description="above 1 more timesteps are near noise, below 1 near the image; by-grid: the "
        "cube root of the latent cells over 32, since noise hides less of a large grid",
    )

    @field_validator("shift", mode="before")
    @classmethod
    def _is_a_shift(cls, value: object) -> object:
        """Refuse what is neither a positive number nor the word."""
        is_number = isinstance(value, int | float) and 0 < value < math.inf
        if not is_number and value != "by-grid":
            raise ValueError("expected a number above 0, or by-grid")
        return value

    def on_grid(self, cells: Shape3) -> "FlowSchedule":
        """Return the schedule with the shift of a latent grid."""
        if self.shift != "by-grid":
            return self
        shift = round(math.cbrt(math.prod(cells) / _CELLS), 6)
        return FlowSchedule(num_timesteps=self.num_timesteps, shift=shift)

    def scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return 1 - time and time, each [T].

        Raises:
            ValueError: The shift goes by a grid, and none is known yet.
        """
        if isinstance(self.shift, str):
            raise ValueError("this schedule's shift goes by the latent grid: call on_grid first")
        u = np.arange(1, self.num_timesteps + 1) / self.num_timesteps
        time = np.minimum(self.shift * u / (1.0 + (self.shift - 1.0) * u), 1.0)
        return 1.0 - time, time
