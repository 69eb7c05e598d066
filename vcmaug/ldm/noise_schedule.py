"""The family of noise schedules: how latents become noise, and what a network predicts on the way.

A schedule is the kind of a prior: z_t = signal_t z_0 + noise_t epsilon, and the network predicts a
fixed mix of z_0 and epsilon. Settings only; `ldm.schedule.Schedule` computes with them.
"""

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.parts import Part
from vcmaug.shapes import Shape3

__all__ = ["NoiseSchedule", "Spread"]

Spread = Literal["uniform", "logit-normal"]
"""Of the timesteps of a training."""


class NoiseSchedule(Part):
    """How noise takes the place of the signal, timestep by timestep.

    Attributes:
        of_z_0: How much of z_0 is in what the network predicts.
        of_epsilon: How much of epsilon is in it; not 0.
        spread: How the timesteps of a training are spread by default; logit-normal: more in the
            middle.
        starts_at: Signal over noise where draws start by default: 0 is the top of the schedule.
    """

    family: ClassVar[str] = "schedule"
    home: ClassVar[str] = "vcmaug.ldm.schedules"
    unnamed: ClassVar[str] = "epsilon"
    of_z_0: ClassVar[float]
    of_epsilon: ClassVar[float]
    spread: ClassVar[Spread] = "uniform"
    starts_at: ClassVar[float] = 0.0

    num_timesteps: int = Field(1000, ge=2, description="T; timesteps run from 0 to T - 1")

    @abstractmethod
    def scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return signal and noise of each timestep, each [T]; the noise grows."""

    @property
    def start(self) -> float:
        """The share of the schedule from which draws start by default, to a hundredth."""
        signal, noise = self.scales()
        below = int((signal > self.starts_at * noise).sum())
        return round(min(1.0, (below + 1) / self.num_timesteps), 2)

    def on_grid(self, cells: Shape3) -> "NoiseSchedule":
        """Return the schedule for a latent grid; most are the same on all."""
        del cells
        return self
