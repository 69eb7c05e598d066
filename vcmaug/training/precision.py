"""Convolutions that compute small inputs in float32, where a training runs in bfloat16.

Notes:
    PyTorch 2.13 on a CPU returns memory that was never written as the gradient of a convolution's
    weights, if it computes in bfloat16 and the input has two planes along its first axis. Clipping
    hides it: what is left of the gradient is noise. Inputs so small cost next to nothing, so all
    with an axis of one or two voxels are computed in float32.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["guard_small_convolutions"]

_SMALL = 2


def guard_small_convolutions(module: nn.Module) -> None:
    """Let every Conv3d of a module compute small inputs in float32 where it runs on a CPU."""
    for part in module.modules():
        if isinstance(part, nn.Conv3d) and not isinstance(part.forward, partial):
            part.forward = partial(_forward, part.forward)  # type: ignore[method-assign]


def _forward(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the convolution of x [B, C, X, Y, Z]."""
    if x.device.type != "cpu" or min(x.shape[2:]) > _SMALL:
        return forward(x)
    with torch.autocast("cpu", enabled=False):
        return forward(x.float())
