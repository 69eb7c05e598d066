"""Gradients in low precision are those of full precision, also of inputs of two planes."""

import pytest
import torch
from torch import nn

from vcmaug.training.learner import guard_small_convolutions


def gradients(shape: tuple[int, ...], *, low: bool) -> list[torch.Tensor]:
    """Return the gradients of a guarded convolution, in memory that was not zero before."""
    torch.manual_seed(0)
    conv = nn.Conv3d(64, 64, 3, padding=1)
    guard_small_convolutions(conv)
    guard_small_convolutions(conv)  # a second time changes nothing
    x, target = torch.randn(4, 64, *shape), torch.randn(4, 64, *shape)
    used = [torch.full((1 << 20,), 1e30) for _ in range(3)]
    del used
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        y = conv(x)
    (y.float() * target).mean().backward()
    assert sorted(conv.state_dict()) == ["bias", "weight"]
    return [conv.weight.grad, conv.bias.grad]


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 3, 2), (2, 6, 5), (1, 2, 1), (4, 6, 4)])
def test_gradients_of_small_inputs_are_right(shape):
    for low, full in zip(gradients(shape, low=True), gradients(shape, low=False), strict=True):
        assert (low - full).abs().max() < 0.02 * full.abs().max()
