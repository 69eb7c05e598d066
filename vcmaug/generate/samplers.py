"""Samplers: from noise to z_0 along an explicit list of timesteps.

What it is: the list, and one step each of DDIM and of DPM-Solver++(2M).
In the flow: sees a denoiser and a schedule, and nothing of controls or conditions.
Sources: Song et al. 2021, arXiv 2010.02502, eq. 12 (eta = 0); Lu et al. 2022, arXiv 2211.01095,
algorithm 2; Lin et al. 2024, arXiv 2305.08891 (trailing timesteps, and the mean of a draw); Zheng
et al. 2022, arXiv 2202.09671 (truncated diffusion).

Notes:
    Timesteps are computed here and recorded in every manifest, since libraries differ in their
    spacing from version to version. The last step always ends at alpha_bar = 1.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from vcmaug.config import Settings
from vcmaug.errors import CohortError
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.schedule import Schedule

__all__ = ["SamplerSettings", "ddim_step", "dpmpp_2m_step", "sample", "timesteps_of"]


class SamplerSettings(Settings):
    """Which sampler, and how many steps."""

    name: Literal["ddim", "dpm++2m"] = "ddim"
    steps: int = Field(25, ge=1)
    spacing: Literal["trailing", "leading"] = "trailing"
    start: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the schedule that is walked; below 1 from the latents that the "
        "condition lets the control expect, else from the prior's mean",
    )


def timesteps_of(settings: SamplerSettings, *, num_timesteps: int) -> tuple[int, ...]:
    """Return the timesteps of a draw, falling; trailing starts at its start, leading ends at 0.

    Raises:
        CohortError: There are more steps than timesteps.

    Examples:
        >>> timesteps_of(SamplerSettings(steps=4), num_timesteps=1000)
        (999, 749, 499, 249)
        >>> timesteps_of(SamplerSettings(steps=4, spacing="leading"), num_timesteps=1000)
        (750, 500, 250, 0)
        >>> timesteps_of(SamplerSettings(steps=2, start=0.6), num_timesteps=1000)
        (599, 299)
    """
    first = round(settings.start * num_timesteps)
    if settings.steps > first:
        raise CohortError(
            f"planning a cohort: {settings.steps} sampler steps were asked for and {first} of the "
            f"prior's {num_timesteps} timesteps are walked. Lower sampler.steps."
        )
    width = first / settings.steps
    if settings.spacing == "trailing":
        return tuple(round(first - k * width) - 1 for k in range(settings.steps))
    return tuple(round((settings.steps - 1 - k) * width) for k in range(settings.steps))


def sample(
    denoiser: Denoiser,
    noise: Tensor,
    context: Context,
    *,
    schedule: Schedule,
    timesteps: Sequence[int],
    name: str,
    mean: Tensor | None = None,
) -> Tensor:
    """Return z_0 [B, L, x, y, z] drawn from noise of that shape.

    Args:
        denoiser: Frozen or steered.
        noise: Standard normal.
        context: Scalars and encoded condition.
        schedule: Of the prior.
        timesteps: Falling, as from `timesteps_of`.
        name: "ddim" or "dpm++2m".
        mean: Latents where the walk starts, under noise: the prior's mean [L, x, y, z], or what
            the conditions let one expect [B, L, x, y, z].

    Notes:
        A network that predicts epsilon leaves the mean of z_0 open where there is next to no
        signal: an error of 0.003 in epsilon is one of 0.3 in z_0 at the last timestep. So whole
        draws come out too bright or too dark. Starting lower, at the noised mean, takes that
        freedom away.
    """
    alphas = [float(schedule.alphas_cumprod[t]) for t in timesteps] + [1.0]
    z_t, previous_z_0 = noise, None
    if mean is not None:
        z_t = math.sqrt(alphas[0]) * mean + math.sqrt(1.0 - alphas[0]) * noise
    for step, t in enumerate(timesteps):
        batch_t = torch.full((len(noise),), t, dtype=torch.long, device=noise.device)
        epsilon = denoiser(z_t, batch_t, context)
        z_0 = schedule.predict_z_0(z_t, epsilon, batch_t)
        if name == "ddim":
            z_t = ddim_step(z_0, epsilon, alpha_next=alphas[step + 1])
        else:
            z_t = dpmpp_2m_step(z_t, z_0, previous_z_0, alphas=alphas, step=step)
        previous_z_0 = z_0
    return z_t


def ddim_step(z_0: Tensor, epsilon: Tensor, *, alpha_next: float) -> Tensor:
    """Return z at the next timestep: the predicted z_0 with the predicted noise put back.

    Args:
        z_0: Predicted clean latents [B, L, x, y, z].
        epsilon: Predicted noise, likewise.
        alpha_next: alpha_bar of the next timestep; 1 at the end.
    """
    return math.sqrt(alpha_next) * z_0 + math.sqrt(1.0 - alpha_next) * epsilon


def dpmpp_2m_step(
    z_t: Tensor, z_0: Tensor, previous_z_0: Tensor | None, *, alphas: Sequence[float], step: int
) -> Tensor:
    """Return z at the next timestep by the second-order multistep solver.

    The first and the last step are of first order.

    Args:
        z_t: Latents at this step [B, L, x, y, z].
        z_0: Their predicted clean latents, likewise.
        previous_z_0: The prediction one step earlier, or None at the first step.
        alphas: alpha_bar of every timestep, and 1 at the end.
        step: Which.
    """
    if alphas[step + 1] >= 1.0:
        return z_0
    sigma, sigma_next = math.sqrt(1 - alphas[step]), math.sqrt(1 - alphas[step + 1])
    h = _log_snr(alphas[step + 1]) - _log_snr(alphas[step])
    blended = z_0
    if previous_z_0 is not None:
        ratio = (_log_snr(alphas[step]) - _log_snr(alphas[step - 1])) / h
        blended = z_0 + (z_0 - previous_z_0) / (2.0 * ratio)
    return (sigma_next / sigma) * z_t - math.sqrt(alphas[step + 1]) * math.expm1(-h) * blended


def _log_snr(alpha: float) -> float:
    """Return lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar))."""
    return 0.5 * math.log(alpha / (1.0 - alpha))
