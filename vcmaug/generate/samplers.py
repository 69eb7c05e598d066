"""Samplers: from noise to z_0 along an explicit list of timesteps.

What it is: the list, and the walk along it with one of five solvers.
In the flow: sees a denoiser and a schedule, and nothing of controls or conditions.
Sources: Lin et al. 2024, arXiv 2305.08891 (trailing timesteps, and the mean of a draw); Zheng et
al. 2022, arXiv 2202.09671 (truncated diffusion); the solvers name their own.

Notes:
    Timesteps are computed here and recorded in every manifest, since libraries differ in their
    spacing from version to version. The last step always ends at alpha_bar = 1.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from vcmaug.config import Settings
from vcmaug.errors import CohortError
from vcmaug.generate.solvers import (
    ddim_step,
    ddpm_step,
    dpmpp_2m_sde_step,
    dpmpp_2m_step,
    heun_step,
)
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.schedule import Schedule

__all__ = ["STOCHASTIC", "SamplerName", "SamplerSettings", "sample", "timesteps_of"]

SamplerName = Literal["ddim", "ddpm", "heun", "dpm++2m", "dpm++2m-sde"]
STOCHASTIC = ("ddpm", "dpm++2m-sde")
"""Solvers that take fresh noise at every step."""


class SamplerSettings(Settings):
    """Which sampler, and how many steps."""

    name: SamplerName = Field("ddim", description="heun asks the network twice per step")
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
    name: SamplerName,
    mean: Tensor | None = None,
    fresh: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Return z_0 [B, L, x, y, z] drawn from noise of that shape.

    Args:
        denoiser: Frozen or steered.
        noise: Standard normal.
        context: Scalars and encoded condition.
        schedule: Of the prior.
        timesteps: Falling, as from `timesteps_of`.
        name: Of the solver.
        mean: Latents where the walk starts, under noise: the prior's mean [L, x, y, z], or what
            the conditions let one expect [B, L, x, y, z].
        fresh: Gives a stochastic solver its standard normal noise, like `noise`, by step.

    Raises:
        ValueError: A stochastic solver has no `fresh` noise.

    Notes:
        A network that predicts epsilon leaves the mean of z_0 open where there is next to no
        signal: an error of 0.003 in epsilon is one of 0.3 in z_0 at the last timestep. So whole
        draws come out too bright or too dark. Starting lower, at the noised mean, takes that
        freedom away.
    """
    if name in STOCHASTIC and fresh is None:
        raise ValueError(f"sampler {name} needs fresh noise at every step")
    alphas = [float(schedule.alphas_cumprod[t]) for t in timesteps] + [1.0]
    z_t, previous_z_0 = noise, None
    if mean is not None:
        z_t = math.sqrt(alphas[0]) * mean + math.sqrt(1.0 - alphas[0]) * noise

    def predicted(z: Tensor, step: int) -> Tensor:
        batch_t = torch.full((len(z),), timesteps[step], dtype=torch.long, device=z.device)
        return denoiser(z, batch_t, context)

    for step, t in enumerate(timesteps):
        epsilon = predicted(z_t, step)
        z_0 = schedule.predict_z_0(z_t, epsilon, torch.tensor([t]))
        last = step == len(timesteps) - 1
        near = (alphas[max(step - 1, 0)], alphas[step], alphas[step + 1])
        renewed = fresh(step) if fresh is not None and name in STOCHASTIC and not last else None
        if last:
            z_t = z_0
        elif name == "ddpm":
            z_t = ddpm_step(z_t, z_0, renewed, alpha=near[1], alpha_next=near[2])
        elif name == "dpm++2m":
            z_t = dpmpp_2m_step(z_t, z_0, previous_z_0, alphas=near)
        elif name == "dpm++2m-sde":
            z_t = dpmpp_2m_sde_step(z_t, z_0, previous_z_0, renewed, alphas=near)
        else:
            z_next = ddim_step(z_0, epsilon, alpha_next=near[2])
            if name == "heun":
                epsilon_next = predicted(z_next, step + 1)
                z_next = heun_step(z_t, epsilon, epsilon_next, alpha=near[1], alpha_next=near[2])
            z_t = z_next
        previous_z_0 = z_0
    return z_t
