"""Samplers: from noise to z_0 along an explicit list of timesteps, one part per solver.

A sampler has settings, timesteps, and one step between two of them. It sees predictions and the
scales of signal and noise, whatever the kind of prior, and nothing of controls or conditions.

References:
    Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", arXiv
    2305.08891 (trailing timesteps, and the mean of a draw). Zheng et al. 2022, "Truncated diffusion
    probabilistic models", arXiv 2202.09671 (a start below the top of the schedule). Each solver
    names its own.

Notes:
    Timesteps are computed here and recorded in every manifest, since libraries differ in their
    spacing from version to version. The last step always ends at z_0 itself. In formulas z_t is
    s z_0 + n epsilon.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.errors import CohortError
from vcmaug.ldm.noise_schedule import NoiseSchedule
from vcmaug.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DDIM", "DDPM", "DPMpp2M", "DPMpp2MSDE", "Euler", "Heun", "Level", "Position", "Sampler"]


@dataclass(frozen=True)
class Level:
    """The scales of one timestep: z_t = signal z_0 + noise epsilon."""

    signal: float
    noise: float

    @property
    def log_snr(self) -> float:
        """Log of signal over noise; infinite at either end."""
        if self.signal <= 0.0 or self.noise <= 0.0:
            return -math.inf if self.signal <= 0.0 else math.inf
        return math.log(self.signal / self.noise)


@dataclass(frozen=True, kw_only=True)
class Position:
    """What is known at one timestep of a draw; tensors are [B, L, x, y, z].

    Attributes:
        z_t: Latents at this timestep.
        prediction: What the denoiser says of them: the noise, or the velocity.
        z_0: The clean latents that it implies.
        previous_z_0: Those of one step earlier; None at the first step.
        levels: Of the step before, of this one, and of the next.
        fresh: Standard normal noise of this step, for stochastic samplers alone.
        moved: Gives z at the next timestep, if the prediction were the same all the way.
        predict_next: Predicts from latents at the next timestep.
    """

    z_t: "Tensor"
    prediction: "Tensor"
    z_0: "Tensor"
    previous_z_0: "Tensor | None"
    levels: tuple[Level, Level, Level]
    fresh: "Tensor | None"
    moved: "Callable[[Tensor], Tensor]"
    predict_next: "Callable[[Tensor], Tensor]"


class Sampler(Part):
    """A solver with the list of timesteps that it walks along.

    Attributes:
        stochastic: Whether each step takes fresh noise.
    """

    family: ClassVar[str] = "sampler"
    home: ClassVar[str] = "vcmaug.generate.samplers"
    unnamed: ClassVar[str] = "ddim"
    stochastic: ClassVar[bool] = False

    steps: int = Field(25, ge=1)
    spacing: Literal["trailing", "leading"] = "trailing"
    start: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the schedule that is walked (null: as measured for its kind, 0.65 of "
        "epsilon's); below 1 from the latents that the condition lets the control expect, else "
        "from the prior's mean",
    )

    def start_on(self, schedule: NoiseSchedule) -> float:
        """Return the share of a schedule that is walked."""
        return schedule.start if self.start is None else self.start

    def timesteps(self, schedule: NoiseSchedule) -> tuple[int, ...]:
        """Return the timesteps of a draw, falling; trailing begins at its start, leading ends at 0.

        Args:
            schedule: Of the prior.

        Raises:
            CohortError: There are more steps than timesteps.

        Examples:
            >>> from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
            >>> schedule = EpsilonSchedule(num_timesteps=1000)
            >>> DDIM(steps=4, start=1).timesteps(schedule)
            (999, 749, 499, 249)
            >>> DDIM(steps=4, start=1, spacing="leading").timesteps(schedule)
            (750, 500, 250, 0)
            >>> DDIM(steps=2, start=0.6).timesteps(schedule)
            (599, 299)
        """
        first = round(self.start_on(schedule) * schedule.num_timesteps)
        if self.steps > first:
            raise CohortError(
                f"planning a cohort: {self.steps} sampler steps were requested and {first} of the "
                f"prior's {schedule.num_timesteps} timesteps are walked. Lower sampler.steps."
            )
        width = first / self.steps
        if self.spacing == "trailing":
            return tuple(round(first - k * width) - 1 for k in range(self.steps))
        return tuple(round((self.steps - 1 - k) * width) for k in range(self.steps))

    @abstractmethod
    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]; never asked at the last one."""


class DDIM(Sampler):
    """The deterministic sampler of first order: the predicted noise is put back into z_0.

    References:
        Song et al. 2021, "Denoising diffusion implicit models", arXiv 2010.02502, eq. 12, eta = 0.
    """

    name: Literal["ddim"] = "ddim"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        return position.moved(position.prediction)


class Euler(Sampler):
    """The velocity times the time; the name that DDIM has on a rectified flow.

    References:
        Liu et al. 2022, "Flow straight and fast", arXiv 2209.03003, section 2.2.
    """

    name: Literal["euler"] = "euler"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        return position.moved(position.prediction)


class Heun(Sampler):
    """The mean of the predictions at both ends of a step; the network is asked twice per step.

    References:
        Karras et al. 2022, "Elucidating the design space of diffusion-based generative models",
        arXiv 2206.00364, algorithm 1.
    """

    name: Literal["heun"] = "heun"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        there = position.predict_next(position.moved(position.prediction))
        return position.moved(0.5 * (position.prediction + there))


class DDPM(Sampler):
    """Ancestral: each step is drawn from q(z_next | z_t, z_0), between any two timesteps.

    References:
        Ho et al. 2020, "Denoising diffusion probabilistic models", arXiv 2006.11239, eq. 7.
    """

    stochastic: ClassVar[bool] = True

    name: Literal["ddpm"] = "ddpm"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, here, there = position.levels
        kept, share = here.signal / there.signal, (there.noise / here.noise) ** 2
        added = 1.0 - kept**2 * share  # of the variance of the noise here
        mean = there.signal * added * position.z_0 + kept * share * position.z_t
        spread = there.noise * math.sqrt(added)
        return mean if position.fresh is None else mean + spread * position.fresh


class DPMpp2M(Sampler):
    """DPM-Solver++(2M): the predicted z_0 is extrapolated along its last change.

    A deterministic multistep solver of second order; the first and the last step are of first.

    References:
        Lu et al. 2022, "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic
        models", arXiv 2211.01095, algorithm 2.
    """

    name: Literal["dpm++2m"] = "dpm++2m"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, here, there = position.levels
        new = -math.expm1(here.log_snr - there.log_snr)
        blended = _extrapolated(position)
        return there.noise / here.noise * position.z_t + there.signal * new * blended


class DPMpp2MSDE(Sampler):
    """The stochastic form of DPM-Solver++(2M): the same solver of the reverse SDE.

    References:
        Lu et al. 2022, arXiv 2211.01095, appendix.
    """

    stochastic: ClassVar[bool] = True

    name: Literal["dpm++2m-sde"] = "dpm++2m-sde"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, here, there = position.levels
        h = there.log_snr - here.log_snr
        renewed = -math.expm1(-2.0 * h)
        of_z_t = there.noise / here.noise * math.exp(-h) * position.z_t
        mean = of_z_t + there.signal * renewed * _extrapolated(position)
        if position.fresh is None:
            return mean
        return mean + there.noise * math.sqrt(renewed) * position.fresh


def _extrapolated(position: Position) -> "Tensor":
    """Return the predicted z_0 at the middle of the step, along its last change."""
    if position.previous_z_0 is None:
        return position.z_0
    before, here, there = (level.log_snr for level in position.levels)
    ratio = (here - before) / (there - here)
    return position.z_0 + (position.z_0 - position.previous_z_0) / (2.0 * ratio)
