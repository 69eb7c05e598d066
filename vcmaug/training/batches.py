"""What a training draws: batches, and the noise under which losses can be compared."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vcmaug.control.channels import channel_tensor, known_channels
from vcmaug.seeding import torch_generator

__all__ = ["RUNGS", "draw_batch", "flipped", "rungs", "channel_batch"]

RUNGS = 10
"""How many timesteps the ladder has."""


def draw_batch(num_items: int, *, batch_size: int, seed: int, step: int) -> Tensor:
    """Return the item indices of a batch, long [batch_size], from (seed, step) alone.

    Items are dealt as from a shuffled deck: each appears once before any appears again.
    """
    first = step * batch_size
    indices = []
    for position in range(first, first + batch_size):
        deck, place = divmod(position, num_items)
        order = torch.randperm(num_items, generator=torch_generator(seed, "deck", deck))
        indices.append(int(order[place]))
    return torch.tensor(indices)


def channel_batch(
    one_hot: Tensor,
    others: Tensor | None,
    *,
    names: Sequence[str],
    drop: float,
    generator: torch.Generator,
) -> Tensor:
    """Return what a control is shown [B, C, X, Y, Z], with channels left out at random.

    Args:
        one_hot: Label maps [B, K, X, Y, Z].
        others: Value and mask of each other channel [B, 2 N, X, Y, Z], or None: the maps alone.
        names: The control's channels, in the order of `control.shown.parts_of`.
        drop: Probability of leaving a channel out; where all would be, one that the case has stays,
            drawn at random.
        generator: Of the choice.
    """
    if others is None:
        return one_hot
    there = known_channels(others, names=names)
    kept = there & (torch.rand(there.shape, generator=generator) >= drop)
    some = there | ~there.any(dim=1, keepdim=True)  # of nothing at all any one is as good
    lucky = torch.multinomial(some.float(), 1, generator=generator)[:, 0]
    kept[torch.arange(len(kept)), lucky] |= ~kept.any(dim=1)
    return channel_tensor(one_hot, others, names=names, kept=kept)


def flipped(volumes: Tensor, *, axis: int) -> Tensor:
    """Return volumes [..., X, Y, Z] mirrored along one of their three axes; X is axis 0."""
    return torch.flip(volumes, dims=(axis - 3,))


def rungs(z: Tensor, *, last: float) -> Iterator[tuple[int, Tensor]]:
    """Yield the timesteps of a schedule up to `last`, evenly, each with its noise for latents z."""
    for rung in range(RUNGS):
        epsilon = torch.randn(z.shape, generator=torch_generator("ladder", rung))
        yield int((rung + 0.5) * last / RUNGS), epsilon
