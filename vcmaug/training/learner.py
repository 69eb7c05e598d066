"""What trainings share: seeded weights, learning rates, a smoothed loss, an average of weights.

`learn` is the whole loop for a network that is trained in one go, such as a segmenter or a
classifier; `training.loop.train` builds on the same parts where a training is long enough to be
resumed, averaged and shared between processes.

References:
    Loshchilov and Hutter 2019, arXiv 1711.05101 (AdamW); Isensee et al. 2021, Nature Methods
    (polynomial schedule); Polyak and Juditsky 1992 (averages of weights; the warm-up
    min(decay, (1 + n) / (10 + n)) is TensorFlow's).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from vcmaug.errors import ModelError
from vcmaug.progress import Progress, Report, silent

__all__ = [
    "MovingAverage",
    "Rate",
    "constant",
    "guard_small_convolutions",
    "learn",
    "seeded",
    "set_rate",
    "smoothed",
    "warm_polynomial",
]

Rate = Callable[[int], float]
"""The learning rate of a step, counted from 0."""

N = TypeVar("N", bound=nn.Module)

_SMALL = 2  # voxels along an axis, see `guard_small_convolutions`


def constant(highest: float) -> Rate:
    """Return the same learning rate for every step."""
    return lambda step: highest


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


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def smoothed(before: float, value: float, *, share: float) -> float:
    """Return the exponential moving average of a loss, for progress and logs.

    Args:
        before: The average so far; NaN at first.
        value: The newest.
        share: Of the newest; 1 keeps no memory.
    """
    return value if math.isnan(before) else (1.0 - share) * before + share * value


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
        weight_decay: Decoupled from the gradient.
        smoothing: Share of the newest loss in what is reported.
        what: Name for progress and messages.
        report: Told after every update.

    Raises:
        ModelError: The loss is no longer finite.
    """
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=weight_decay)
    smooth = math.nan
    network.train()
    for step in range(updates):
        loss = loss_at(step)
        if not torch.isfinite(loss):
            raise ModelError(
                f"training {what}: loss {loss.item()} at update {step + 1}. Lower learning_rate."
            )
        set_rate(optimiser, rate(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        smooth = smoothed(smooth, loss.item(), share=smoothing)
        report(Progress(what, step + 1, updates, f"loss {smooth:.3f}"))
    network.eval()
    return smooth


class MovingAverage:
    """A moving average of all floating-point tensors of a module.

    Args:
        module: Whose weights are followed; the average starts as a copy of them.
        decay: In [0, 1); 0 keeps the last weights.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.weights = {
            name: tensor.detach().clone() for name, tensor in module.state_dict().items()
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's weights."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1.0 - decay)
            else:
                self.weights[name].copy_(tensor)

    def load(self, weights: Mapping[str, Tensor], *, num_updates: int) -> None:
        """Go on from a saved average, on the device of the one it replaces."""
        for name, tensor in weights.items():
            self.weights[name].copy_(tensor)
        self.num_updates = num_updates


def guard_small_convolutions(module: nn.Module) -> None:
    """Let every Conv3d of a module compute small inputs in float32 where it runs on a CPU.

    Notes:
        PyTorch 2.13 on a CPU returns memory that was never written as the gradient of a
        convolution's weights, if it computes in bfloat16 and the input has two planes along its
        first axis. Clipping hides it: what is left of the gradient is noise. Inputs so small cost
        next to nothing, so all with an axis of one or two voxels are computed in float32.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv3d) and not isinstance(part.forward, partial):
            part.forward = partial(_forward, part.forward)  # type: ignore[method-assign]


def _forward(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the convolution of x [B, C, X, Y, Z]."""
    if x.device.type != "cpu" or min(x.shape[2:]) > _SMALL:
        return forward(x)
    with torch.autocast("cpu", enabled=False):
        return forward(x.float())
