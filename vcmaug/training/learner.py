"""What every training shares: seeded weights, AdamW with a learning rate per step, a smoothed loss.

`learn` is the whole loop for a network that is trained in one go, such as a segmenter or a
classifier; `training.loop.train` builds on the same parts where a training is long enough to be
resumed, averaged and shared between processes.

References:
    Loshchilov and Hutter 2019, arXiv 1711.05101 (AdamW); Isensee et al. 2021, Nature Methods
    (polynomial schedule).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from vcmaug.errors import ModelError
from vcmaug.progress import Progress, Report, silent

__all__ = [
    "AdamW",
    "Rate",
    "Smoothed",
    "constant",
    "learn",
    "seeded",
    "warm_cosine",
    "warm_polynomial",
]

Rate = Callable[[int], float]
"""The learning rate of a step, counted from 0."""

N = TypeVar("N", bound=nn.Module)


def constant(highest: float) -> Rate:
    """Return the same learning rate for every step."""
    return lambda step: highest


def warm_cosine(highest: float, *, updates: int, warmup: int, final_share: float) -> Rate:
    """Return a linear warm-up, then a cosine to the final share of the highest rate.

    Examples:
        >>> rate = warm_cosine(1.0, updates=12, warmup=2, final_share=0.1)
        >>> rate(0), rate(1), round(rate(12), 6)
        (0.5, 1.0, 0.1)
    """

    def rate(step: int) -> float:
        if step < warmup:
            return highest * (step + 1) / warmup
        cosine = 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, updates - warmup)))
        return highest * (final_share + (1.0 - final_share) * cosine)

    return rate


def warm_polynomial(highest: float, *, updates: int, warmup: int = 20, power: float = 0.9) -> Rate:
    """Return a linear warm-up times nnU-Net's polynomial, which ends at zero.

    Examples:
        >>> rate = warm_polynomial(1.0, updates=100)
        >>> rate(0), round(rate(50), 4)
        (0.05, 0.5359)
    """

    def rate(step: int) -> float:
        return highest * (min(1.0, (step + 1) / warmup) * float((1.0 - step / updates) ** power))

    return rate


def seeded(make: Callable[[], N], *, seed: int) -> N:
    """Return a new network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class AdamW:
    """AdamW with a learning rate per step.

    Args:
        module: All of whose parameters are trained.
        rate: Learning rate by step.
        weight_decay: Decoupled from the gradient.
    """

    def __init__(self, module: nn.Module, *, rate: Rate, weight_decay: float = 0.01) -> None:
        self.rate = rate
        self.torch = torch.optim.AdamW(module.parameters(), lr=rate(0), weight_decay=weight_decay)

    def prepare(self, step: int) -> None:
        """Set the learning rate of a step."""
        for group in self.torch.param_groups:
            group["lr"] = self.rate(step)

    def descend(self, loss: Tensor, *, step: int) -> None:
        """Take one step down the gradient of a loss."""
        self.prepare(step)
        self.torch.zero_grad()
        loss.backward()
        self.torch.step()


@dataclass
class Smoothed:
    """An exponential moving average of a loss, for progress and logs.

    Attributes:
        share: Of the newest value; 1 keeps no memory.
        value: NaN before the first.
    """

    share: float
    value: float = math.nan

    def add(self, value: float) -> float:
        """Take in a value and return the average."""
        if math.isnan(self.value):
            self.value = value
        else:
            self.value = (1.0 - self.share) * self.value + self.share * value
        return self.value


def learn(
    network: nn.Module,
    loss_at: Callable[[int], Tensor],
    *,
    updates: int,
    rate: Rate,
    weight_decay: float = 0.01,
    smoothing: float = 0.05,
    what: str,
    report: Report = silent,
) -> float:
    """Train a network in place, leave it in evaluation mode, and return its smoothed loss.

    Args:
        network: Where it is to be trained.
        loss_at: The loss of a step, counted from 0.
        updates: How many steps.
        rate: Learning rate by step.
        weight_decay: See `AdamW`.
        smoothing: Share of the newest loss in what is reported.
        what: Name for progress and messages.
        report: Told after every update.

    Raises:
        ModelError: The loss is no longer finite.
    """
    optimiser, smooth = AdamW(network, rate=rate, weight_decay=weight_decay), Smoothed(smoothing)
    network.train()
    for step in range(updates):
        loss = loss_at(step)
        if not torch.isfinite(loss):
            raise ModelError(
                f"training {what}: loss {loss.item()} at update {step + 1}. Lower learning_rate."
            )
        optimiser.descend(loss, step=step)
        note = f"loss {smooth.add(loss.item()):.3f}"
        report(Progress(what, step + 1, updates, note))
    network.eval()
    return smooth.value
