"""The walk of a sampler along its timesteps, from noise to z_0.

It asks a denoiser at every timestep and a sampler between them, and knows neither.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vcmaug.generate.samplers import Level, Position, Sampler
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.schedule import Schedule

__all__ = ["sample"]


def sample(
    denoiser: Denoiser,
    noise: Tensor,
    *,
    context: Context,
    schedule: Schedule,
    sampler: Sampler,
    timesteps: Sequence[int],
    mean: Tensor | None = None,
    fresh: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Return z_0 [B, L, x, y, z] drawn from noise of that shape.

    Args:
        denoiser: Frozen or steered.
        noise: Standard normal.
        context: Scalars and encoded condition.
        schedule: Of the prior.
        sampler: Makes the steps.
        timesteps: Falling, as from `Sampler.timesteps`.
        mean: Latents where the walk starts, under noise: the prior's mean [L, x, y, z], or what
            the conditions let one expect [B, L, x, y, z]; None: at noise alone.
        fresh: Gives a stochastic sampler its standard normal noise, like `noise`, by step.

    Raises:
        ValueError: A stochastic sampler has no `fresh` noise.

    Notes:
        A network that predicts epsilon leaves the mean of z_0 open where there is next to no
        signal: an error of 0.003 in epsilon is one of 0.3 in z_0 at the last timestep. So whole
        draws come out too bright or too dark. Starting lower, at the noised mean, takes that
        freedom away.
    """
    if sampler.stochastic and fresh is None:
        raise ValueError(f"sampler {sampler.name} needs fresh noise at every step")
    renewed = fresh if fresh is not None and sampler.stochastic else _nothing
    levels = [Level(float(schedule.signal[t]), float(schedule.noise[t])) for t in timesteps]
    levels.append(Level(1.0, 0.0))
    z_t = noise
    if mean is not None:
        z_t = levels[0].signal * mean + levels[0].noise * noise

    def predict(z: Tensor, step: int) -> Tensor:
        batch_t = torch.full((len(z),), timesteps[step], dtype=torch.long, device=z.device)
        return denoiser(z, batch_t, context)

    def predict_z_0(z: Tensor, prediction: Tensor, step: int) -> Tensor:
        return schedule.predict_z_0(z, prediction, torch.tensor([timesteps[step]]))

    def moved(z: Tensor, prediction: Tensor, step: int) -> Tensor:
        z_0, there = predict_z_0(z, prediction, step), levels[step + 1]
        return there.signal * z_0 + there.noise * schedule.predict_epsilon(z_0, prediction)

    previous_z_0, last = None, len(timesteps) - 1
    for step in range(last):
        prediction = predict(z_t, step)
        position = Position(
            z_t=z_t,
            prediction=prediction,
            z_0=predict_z_0(z_t, prediction, step),
            previous_z_0=previous_z_0,
            levels=(levels[max(step - 1, 0)], levels[step], levels[step + 1]),
            fresh=renewed(step),
            moved=partial(moved, z_t, step=step),
            predict_next=partial(predict, step=step + 1),
        )
        z_t, previous_z_0 = sampler.step(position), position.z_0
    return predict_z_0(z_t, predict(z_t, last), last)


def _nothing(step: int) -> None:
    """Return no noise, for samplers that take none."""
    del step
