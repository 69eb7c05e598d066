"""The exponential moving average of a network's weights, which is what training keeps.

References:
    Polyak and Juditsky 1992; the warm-up min(decay, (1 + n) / (10 + n)) is TensorFlow's.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """A moving average of all floating-point tensors of a module.

    Args:
        module: Whose weights are followed; the average starts as a copy of them.
        decay: In [0, 1); 0 keeps the last weights.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.weights = {name: tensor.detach().clone() for name, tensor in _state(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's weights."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        for name, tensor in _state(module).items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor, 1.0 - decay)
            else:
                self.weights[name].copy_(tensor)

    def load(self, weights: Mapping[str, Tensor], *, num_updates: int) -> None:
        """Go on from a saved average, on the device of the one it replaces."""
        for name, tensor in weights.items():
            self.weights[name].copy_(tensor)
        self.num_updates = num_updates


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a module."""
    state: dict[str, Tensor] = module.state_dict()
    return state
