"""Samplers: from noise to z_0 along an explicit list of timesteps, one part per solver.

A sampler has settings, timesteps, and one step between two of them. It sees predictions of the
noise and alpha_bar, and nothing of controls or conditions.

References:
    Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", arXiv
    2305.08891 (trailing timesteps, and the mean of a draw). Zheng et al. 2022, "Truncated diffusion
    probabilistic models", arXiv 2202.09671 (a start below the top of the schedule). Each solver
    names its own.

Notes:
    Timesteps are computed here and recorded in every manifest, since libraries differ in their
    spacing from version to version. The last step always ends at alpha_bar = 1. In formulas, alpha
    is alpha_bar.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.errors import CohortError
from vcmaug.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DDIM", "DDPM", "DPMpp2M", "DPMpp2MSDE", "Heun", "Position", "Sampler"]


@dataclass(frozen=True, kw_only=True)
class Position:
    """What is known at one timestep of a draw; tensors are [B, L, x, y, z].

    Attributes:
        z_t: Latents at this timestep.
        z_0: The clean latents that are predicted from them.
        epsilon: The noise that is predicted in them.
        previous_z_0: The prediction one step earlier; None at the first step.
        alphas: alpha_bar of the step before, of this one, and of the next.
        fresh: Standard normal noise of this step, for stochastic samplers alone.
        predict_next: Predicts the noise in latents at the next timestep.
    """

    z_t: "Tensor"
    z_0: "Tensor"
    epsilon: "Tensor"
    previous_z_0: "Tensor | None"
    alphas: tuple[float, float, float]
    fresh: "Tensor | None"
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
    start: float = Field(
        0.65,
        gt=0,
        le=1,
        description="share of the schedule that is walked (above 0.65 whole images come out too "
        "bright or too dark, see recipes/hippocampus/LOG.md); below 1 from the latents that the "
        "condition lets the control expect, else from the prior's mean",
    )

    def timesteps(self, num_timesteps: int) -> tuple[int, ...]:
        """Return the timesteps of a draw, falling; trailing begins at its start, leading ends at 0.

        Args:
            num_timesteps: Of the prior's schedule.

        Raises:
            CohortError: There are more steps than timesteps.

        Examples:
            >>> DDIM(steps=4, start=1).timesteps(1000)
            (999, 749, 499, 249)
            >>> DDIM(steps=4, start=1, spacing="leading").timesteps(1000)
            (750, 500, 250, 0)
            >>> DDIM(steps=2, start=0.6).timesteps(1000)
            (599, 299)
        """
        first = round(self.start * num_timesteps)
        if self.steps > first:
            raise CohortError(
                f"planning a cohort: {self.steps} sampler steps were requested and {first} of the "
                f"prior's {num_timesteps} timesteps are walked. Lower sampler.steps."
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
        return _ddim_step(position)


class Heun(Sampler):
    """The mean of the slopes at both ends of a DDIM step; the network is asked twice per step.

    References:
        Karras et al. 2022, "Elucidating the design space of diffusion-based generative models",
        arXiv 2206.00364, algorithm 1.
    """

    name: Literal["heun"] = "heun"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, alpha, alpha_next = position.alphas
        epsilon_next = position.predict_next(_ddim_step(position))
        by = _noise_to_signal(alpha_next) - _noise_to_signal(alpha)
        slope = 0.5 * (position.epsilon + epsilon_next)
        return math.sqrt(alpha_next) * (position.z_t / math.sqrt(alpha) + by * slope)


class DDPM(Sampler):
    """Ancestral: each step is drawn from q(z_next | z_t, z_0), between any two timesteps.

    References:
        Ho et al. 2020, "Denoising diffusion probabilistic models", arXiv 2006.11239, eq. 7.
    """

    stochastic: ClassVar[bool] = True

    name: Literal["ddpm"] = "ddpm"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, alpha, alpha_next = position.alphas
        kept = alpha / alpha_next
        of_z_0 = math.sqrt(alpha_next) * (1.0 - kept) / (1.0 - alpha)
        of_z_t = math.sqrt(kept) * (1.0 - alpha_next) / (1.0 - alpha)
        spread = math.sqrt((1.0 - kept) * (1.0 - alpha_next) / (1.0 - alpha))
        mean = of_z_0 * position.z_0 + of_z_t * position.z_t
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
        _, alpha, alpha_next = position.alphas
        if alpha_next >= 1.0:
            return position.z_0
        h = _log_snr(alpha_next) - _log_snr(alpha)
        sigma_share = math.sqrt((1 - alpha_next) / (1 - alpha))
        blended = _extrapolated(position)
        return sigma_share * position.z_t - math.sqrt(alpha_next) * math.expm1(-h) * blended


class DPMpp2MSDE(Sampler):
    """The stochastic form of DPM-Solver++(2M): the same solver of the reverse SDE.

    References:
        Lu et al. 2022, arXiv 2211.01095, appendix.
    """

    stochastic: ClassVar[bool] = True

    name: Literal["dpm++2m-sde"] = "dpm++2m-sde"

    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]."""
        _, alpha, alpha_next = position.alphas
        if position.fresh is None or alpha_next >= 1.0:
            return position.z_0
        h = _log_snr(alpha_next) - _log_snr(alpha)
        sigma, sigma_next = math.sqrt(1 - alpha), math.sqrt(1 - alpha_next)
        renewed = -math.expm1(-2.0 * h)
        of_z_t = sigma_next / sigma * math.exp(-h) * position.z_t
        mean = of_z_t + math.sqrt(alpha_next) * renewed * _extrapolated(position)
        return mean + sigma_next * math.sqrt(renewed) * position.fresh


def _ddim_step(position: Position) -> "Tensor":
    """Return the predicted z_0 with the predicted noise of the next timestep put back."""
    alpha_next = position.alphas[2]
    return math.sqrt(alpha_next) * position.z_0 + math.sqrt(1.0 - alpha_next) * position.epsilon


def _extrapolated(position: Position) -> "Tensor":
    """Return the predicted z_0 at the middle of the step, along its last change."""
    if position.previous_z_0 is None:
        return position.z_0
    before, here, there = (_log_snr(min(alpha, 1 - 1e-12)) for alpha in position.alphas)
    ratio = (here - before) / (there - here)
    return position.z_0 + (position.z_0 - position.previous_z_0) / (2.0 * ratio)


def _log_snr(alpha: float) -> float:
    """Return lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar))."""
    return 0.5 * math.log(alpha / (1.0 - alpha))


def _noise_to_signal(alpha: float) -> float:
    """Return sqrt(1 - alpha_bar) / sqrt(alpha_bar)."""
    return math.sqrt((1.0 - alpha) / alpha)
