"""The objective of a control: how far its prediction is from the truth, and where that counts.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826; Hang et al. 2023, arXiv 2303.09556 (weights by the
    signal-to-noise ratio, cut at both ends).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.control.channels import one_hot_batch
from vcmaug.control.network import Steered
from vcmaug.ldm.autoencoder import volumes_at_once
from vcmaug.ldm.prior import Prior
from vcmaug.seeding import torch_generator
from vcmaug.training.data import RUNGS, channel_batch, draw_batch, rungs
from vcmaug.training.loop import Objective, Share
from vcmaug.training.pairs import Pairs
from vcmaug.training.settings import ControlJob

__all__ = [
    "control_loss",
    "control_objective",
    "near_weights",
    "timestep_weights",
    "validation_loss",
]

_LEAST_WEIGHT, _MOST_WEIGHT = 0.1, 5.0


def timestep_weights(errors_of_z_0: Tensor, weighting: str) -> Tensor:
    """Return the weight of each timestep [T], 1 on average.

    The square of how far z_0 moves with an error of 1 in the prediction (for epsilon: one over the
    signal-to-noise ratio), cut at both ends as Hang et al. 2023, arXiv 2303.09556, cut theirs.
    """
    if weighting == "prediction":
        return torch.ones(len(errors_of_z_0))
    weights = (errors_of_z_0**2).clamp(_LEAST_WEIGHT, _MOST_WEIGHT)
    return (weights / weights.mean()).float()


def near_weights(one_hot: Tensor, cells: Sequence[int], weight: float) -> Tensor:
    """Return the weight of each latent cell [B, 1, x, y, z], 1 on average."""
    inside = one_hot.amax(dim=1, keepdim=True)  # [B, 1, X, Y, Z]
    cell = functional.adaptive_max_pool3d(inside, list(cells))
    near = 1.0 + weight * functional.max_pool3d(cell, 3, stride=1, padding=1)
    return near / near.mean()


def control_loss(
    steered: Steered, target: Tensor, *, weights: Tensor, l1_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Return MSE(prediction, target) + l1_weight * penalty, and the parts as numbers.

    Args:
        steered: The prediction and, of controls that modulate, its penalty: the mean of
            |gamma| + |beta| over all elements, whatever their number.
        target: What it should be, [B, L, x, y, z].
        weights: Of each element's error, [B, 1, x, y, z]; all 1 is the MSE itself.
        l1_weight: lambda.
    """
    errors = (steered.prediction.float() - target) ** 2
    loss = (weights * errors).mean()
    parts = {"mse": errors.mean().item(), "weighted": loss.item()}
    if steered.penalty is not None:
        parts["penalty"] = steered.penalty.item()
        loss = loss + l1_weight * steered.penalty
    if steered.frozen is not None:
        parts["frozen_mse"] = functional.mse_loss(steered.frozen, target).item()
    return loss, parts


def control_objective(pairs: Pairs, *, prior: Prior, job: ControlJob) -> Objective:
    """Return the loss of one step: MSE of the prediction plus the penalty."""
    settings, seed = job.settings, job.seed
    last = round(settings.trained_on(prior.spec.schedule) * prior.schedule.num_timesteps)
    weights = timestep_weights(prior.schedule.errors_of_z_0[:last], settings.weighting)

    def objective(module: nn.Module, step: int, share: Share) -> tuple[Tensor, dict[str, float]]:
        device = next(module.parameters()).device
        chosen = draw_batch(len(pairs.z), batch_size=settings.batch_size, seed=seed, step=step)
        generator = torch_generator(seed, "control", step)
        z_0 = pairs.z[chosen]  # [B, L, x, y, z]
        t = torch.randint(last, (len(z_0),), generator=generator)
        epsilon = torch.randn(z_0.shape, generator=generator)
        one_hot = one_hot_batch(pairs.index_maps[chosen], job.structures.num_structures)
        near = near_weights(one_hot, z_0.shape[2:], settings.near_weight)
        others = None if pairs.channels is None else pairs.channels[chosen]
        channels = channel_batch(
            one_hot,
            others,
            names=pairs.names,
            drop=job.shows.drop,
            generator=torch_generator(seed, "shown", step),
        )
        z_0, t, epsilon = share.of(z_0), share.of(t), share.of(epsilon)
        near, channels = share.of(near).to(device), share.of(channels).to(device)
        z_t = prior.schedule.add_noise(z_0, epsilon, t).to(device)
        target = prior.schedule.target(z_0, epsilon).to(device)
        scalars = None
        if pairs.scalars is not None:
            scalars = share.of(pairs.scalars[chosen]).to(device)
        steered, expected = module(prior.denoiser, z_t, t.to(device), scalars, channels)
        where = weights[t].to(device).reshape(-1, 1, 1, 1, 1) * near
        loss, parts = control_loss(steered, target, weights=where, l1_weight=settings.l1_weight)
        if expected is not None:
            layout = (near * (expected - z_0.to(device)) ** 2).mean()
            loss, parts = loss + layout, parts | {"layout": layout.item()}
        return loss, parts

    return objective


def validation_loss(module: nn.Module, pairs: Pairs, *, prior: Prior, job: ControlJob) -> float:
    """Return the mean squared error of the prediction over pairs and a ladder of timesteps.

    Args:
        module: The control's network.
        pairs: Of cases that it was not trained on; all their channels are shown.
        prior: Frozen.
        job: Of the training, which says what share of the schedule counts.
    """
    device = next(module.parameters()).device
    share, error = job.settings.trained_on(prior.spec.schedule), 0.0
    last = share * prior.schedule.num_timesteps
    for few in torch.arange(len(pairs.z)).split(volumes_at_once(prior.spec.grid.shape)):
        one_hot = one_hot_batch(pairs.index_maps[few], job.structures.num_structures)
        others = None if pairs.channels is None else pairs.channels[few]
        channels = channel_batch(
            one_hot, others, names=pairs.names, drop=0.0, generator=torch_generator("ladder")
        )
        scalars = None if pairs.scalars is None else pairs.scalars[few].to(device)
        for timestep, noise in rungs(pairs.z, last=last):
            t, epsilon = torch.full((len(few),), timestep), noise[few]
            z_t = prior.schedule.add_noise(pairs.z[few], epsilon, t).to(device)
            steered, _ = module(prior.denoiser, z_t, t.to(device), scalars, channels.to(device))
            target = prior.schedule.target(pairs.z[few], epsilon)
            error += len(few) * functional.mse_loss(steered.prediction.cpu(), target).item()
    return error / (len(pairs.z) * RUNGS)
