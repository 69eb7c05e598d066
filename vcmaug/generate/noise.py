"""The noise of draws: on the CPU, from a seed and the id of what is drawn alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vcmaug.seeding import torch_generator

__all__ = ["Noise"]


@dataclass(frozen=True)
class Noise:
    """Where the noise of some draws comes from.

    Attributes:
        seed: Of the cohort.
        ids: One per draw; each has noise of its own, whatever is drawn beside it.
        attempt: Which draw of the same ids, from 0; each has other noise.
    """

    seed: int
    ids: Sequence[str]
    attempt: int = 0

    def of(self, shape: Sequence[int], purpose: str = "noise") -> Tensor:
        """Return standard normal noise, float32 [B, *shape], on the CPU.

        Args:
            shape: Of one draw.
            purpose: Such as "noise", "step 3" or "texture"; each has noise of its own.
        """
        own = f"{purpose}, try {self.attempt}" if self.attempt else purpose
        generators = [torch_generator(self.seed, name, own) for name in self.ids]
        return torch.stack([torch.randn(tuple(shape), generator=g) for g in generators])
