"""The noise of a request: drawn on the CPU, from the cohort's seed and the request's id alone.

What it is: one function.
In the flow: the start of every draw.
Sources: none.
"""

import torch
from torch import Tensor

from vcmaug.seeding import torch_generator

__all__ = ["noise_of"]


def noise_of(
    request_id: str, *, cohort_seed: int, shape: tuple[int, ...], purpose: str = "noise"
) -> Tensor:
    """Return standard normal noise of a shape, float32, on the CPU; each purpose has its own."""
    return torch.randn(shape, generator=torch_generator(cohort_seed, request_id, purpose))
