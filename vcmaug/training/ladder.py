"""The ladder: fixed timesteps and noise, under which two losses can be compared."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vcmaug.seeding import torch_generator

__all__ = ["RUNGS", "Rung", "rungs"]

RUNGS = 10
"""How many timesteps."""


class Rung(NamedTuple):
    """One timestep, the same for all latents, and the noise of each [N, L, x, y, z]."""

    t: int
    epsilon: Tensor


def rungs(z: Tensor, *, last: float) -> Iterator[Rung]:
    """Yield the timesteps of a schedule up to `last`, evenly, with noise for latents z."""
    for rung in range(RUNGS):
        epsilon = torch.randn(z.shape, generator=torch_generator("ladder", rung))
        yield Rung(int((rung + 0.5) * last / RUNGS), epsilon)
