"""Cases as tensors in memory, and batches drawn from (seed, step).

What it is: images [N, C, X, Y, Z], label maps as channel indices [N, X, Y, Z], and the draw.
In the flow: read once from prepared cases; every objective draws from here.
Sources: none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vcmaug.control.channels import known_channels, shown_tensor
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.scalars import raw_value, scalar_vector
from vcmaug.errors import DataError
from vcmaug.ldm.spec import PriorSpec
from vcmaug.seeding import torch_generator

__all__ = [
    "draw_batch",
    "flipped",
    "read_images",
    "read_index_maps",
    "scalars_of",
    "shown_batch",
]


def read_images(cases: Sequence[Case]) -> Tensor:
    """Return the images of prepared cases, float32 [N, 1, X, Y, Z] in [0, 1]."""
    arrays = [read_image(case.image, case_id=case.case_id).array for case in cases]
    return torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32))


def read_index_maps(cases: Sequence[Case]) -> Tensor:
    """Return the label maps of prepared cases as channel indices, uint8 [N, X, Y, Z]; 0 is none.

    Raises:
        DataError: A case has no label map.
    """
    maps = []
    for case in cases:
        if case.label is None:
            raise DataError(
                f"reading label maps: case {case.case_id} has none, and a control is trained on "
                "labelled cases only."
            )
        label_map = read_label_map(case.label, case_id=case.case_id).array
        maps.append(label_map.astype(np.uint8))
    return torch.from_numpy(np.stack(maps))


def scalars_of(
    rows: Sequence[Mapping[str, Any]],
    spec: PriorSpec,
    *,
    fill: Mapping[str, float],
    and_mirrored: bool = False,
    clip_volumes: bool = False,
) -> Tensor | None:
    """Return normalised scalars [N, S] of rows of a case table; None for a prior without any.

    Args:
        rows: With the columns that the scalars read.
        spec: Names the scalars.
        fill: What replaces a missing one, in its own unit.
        and_mirrored: Those of the mirrored cases come after them, [2 N, S]; there the volume of a
            structure is that of its other side.
        clip_volumes: Volumes of structures are brought into their range, as those of conditions.
    """
    if not spec.scalars:
        return None
    turns = [spec.scalars]
    if and_mirrored:
        turns.append(tuple(scalar.mirrored() for scalar in spec.scalars))
    found = []
    for scalars in turns:
        for row in rows:
            values = {scalar.name: raw_value(scalar, row) for scalar in scalars}
            for scalar in scalars if clip_volumes else ():
                value = values[scalar.name]
                if scalar.structures and value is not None:
                    values[scalar.name] = min(max(value, scalar.low), scalar.high)
            found.append(torch.from_numpy(scalar_vector(scalars, values, fill=fill)))
    return torch.stack(found)


def shown_batch(
    one_hot: Tensor,
    further: Tensor | None,
    *,
    names: Sequence[str],
    drop: float,
    generator: torch.Generator,
) -> Tensor:
    """Return what a control is shown [B, C, X, Y, Z], with channels left out at random.

    Args:
        one_hot: Label maps [B, K, X, Y, Z].
        further: Value and mask of each further channel [B, 2 N, X, Y, Z], or None: the maps alone.
        names: The control's channels, in the order of `control.shown.parts_of`.
        drop: Probability of leaving a channel out; where all would be, one that the case has stays,
            drawn at random.
        generator: Of the choice.
    """
    if further is None:
        return one_hot
    there = known_channels(further, names=names)
    kept = there & (torch.rand(there.shape, generator=generator) >= drop)
    some = there | ~there.any(dim=1, keepdim=True)  # of nothing at all any one is as good
    lucky = torch.multinomial(some.float(), 1, generator=generator)[:, 0]
    kept[torch.arange(len(kept)), lucky] |= ~kept.any(dim=1)
    return shown_tensor(one_hot, further, names=names, kept=kept)


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


def flipped(volumes: Tensor, *, axis: int) -> Tensor:
    """Return volumes [..., X, Y, Z] mirrored along one of their three axes; X is axis 0."""
    return torch.flip(volumes, dims=(axis - 3,))
