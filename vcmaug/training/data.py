"""What trainings read and draw: cases as tensors, plain and deformed; batches, noise, channels.

The training of a prior deforms images, that of a control images and label maps together, for more
shapes than there are cases.

References:
    Arsigny et al. 2006, MICCAI, through `data.deformation`.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.conditions.base import LABEL_MAP
from vcmaug.control.channels import channel_tensor
from vcmaug.data.cases import Case
from vcmaug.data.deformation import deform_image, draw_velocity, integrate, upsampled
from vcmaug.data.geometry import Grid
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.scalars import raw_value, scalar_vector
from vcmaug.data.sides import other_side, refuse_unknown_sides
from vcmaug.errors import DataError
from vcmaug.ldm.spec import PriorSpec
from vcmaug.seeding import numpy_generator, torch_generator
from vcmaug.shapes import as_shape3
from vcmaug.training.settings import DeformSettings

__all__ = [
    "RUNGS",
    "channel_batch",
    "deformed_image",
    "displacement_for",
    "draw_batch",
    "draw_timesteps",
    "flipped",
    "images_of",
    "index_map_of",
    "read_images",
    "rungs",
    "scalars_of",
]

RUNGS = 10
"""How many timesteps the ladder has, under whose noise losses can be compared; see `rungs`."""


def images_of(case: Case, others: Sequence[str] = ()) -> Tensor:
    """Return the image of a prepared case and, behind it, others of its images by name.

    They are float32 [1 + N, X, Y, Z] in [0, 1].
    """
    paths = [case.image, *(case.images[name] for name in others)]
    arrays = [read_image(path, case_id=case.case_id).array for path in paths]
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def read_images(cases: Sequence[Case]) -> Tensor:
    """Return the images of prepared cases, float32 [N, 1, X, Y, Z] in [0, 1]."""
    arrays = [read_image(case.image, case_id=case.case_id).array for case in cases]
    return torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32))


def index_map_of(case: Case) -> NDArray[np.uint8]:
    """Return the label map of a prepared case as channel numbers, uint8 [X, Y, Z]; 0 is none.

    Raises:
        DataError: The case has no label map.
    """
    if case.label is None:
        raise DataError(
            f"reading label maps: case {case.case_id} has none, and a control is trained on "
            "labelled cases only."
        )
    return read_label_map(case.label, case_id=case.case_id).array.astype(np.uint8)


def scalars_of(
    cases: Sequence[Case],
    spec: PriorSpec,
    *,
    fill: Mapping[str, float],
    and_mirrored: bool = False,
    clip_volumes: bool = False,
) -> Tensor | None:
    """Return normalised scalars [N, S] of cases; None for a prior without any.

    Args:
        cases: With what the scalars read.
        spec: Names the scalars.
        fill: What replaces a missing one, in its own unit.
        and_mirrored: Those of the mirrored cases come after them, [2 N, S]; there a structure or
            column of one side is that of the other.
        clip_volumes: Volumes of structures are brought into their range, as those of conditions.

    Raises:
        DataError: Of a structure or column to be mirrored, the other side cannot be told.
    """
    if not spec.scalars:
        return None
    turns = [spec.scalars]
    if and_mirrored:
        _refuse_unknown_sides(cases, spec)
        turns.append(tuple(scalar.mirrored() for scalar in spec.scalars))
    found = []
    for scalars in turns:
        for case in cases:
            values = {scalar.name: raw_value(scalar, case.columns) for scalar in scalars}
            for scalar in scalars if clip_volumes else ():
                value = values[scalar.name]
                if scalar.structures and value is not None:
                    values[scalar.name] = min(max(value, scalar.low), scalar.high)
            found.append(torch.from_numpy(scalar_vector(scalars, values, fill=fill)))
    return torch.stack(found)


def _refuse_unknown_sides(cases: Sequence[Case], spec: PriorSpec) -> None:
    """Refuse to mirror scalars of structures or columns whose other side cannot be told."""
    columns = {scalar.column for scalar in spec.scalars if scalar.column is not None}
    there = {name for case in cases for name in case.columns}
    names = [*sorted(columns), *sorted({other_side(name) for name in columns} & there)]
    if any(scalar.structures for scalar in spec.scalars):
        names += [name for case in cases if case.measured for name in case.measured.volumes_mm3]
    refuse_unknown_sides(names, doing="mirroring the scalars of cases")


def displacement_for(
    name: str, copy: int, *, settings: DeformSettings, grid: Grid, seed: int
) -> NDArray[np.float32]:
    """Return the displacement [3, X, Y, Z] in voxels of one copy of a case."""
    shape = as_shape3(grid.shape)
    velocity = draw_velocity(
        shape,
        spacing_mm=grid.spacing_mm,
        max_displacement_mm=settings.max_displacement_mm,
        smoothness_mm=settings.smoothness_mm,
        generator=numpy_generator(seed, name, "bent pair", copy),
    )
    return upsampled(integrate(velocity, shape), shape)


def deformed_image(image: Tensor, displacement: NDArray[np.float32]) -> Tensor:
    """Return an image [C, X, Y, Z] under a displacement."""
    channels = [deform_image(channel, displacement) for channel in image.numpy()]
    return torch.from_numpy(np.stack(channels))


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


def draw_timesteps(
    count: int, num_timesteps: int, *, spread: str, generator: torch.Generator
) -> Tensor:
    """Return timesteps for a batch, long [count].

    Args:
        count: B.
        num_timesteps: T.
        spread: "uniform"; or "logit-normal": more of them in the middle of the schedule (Esser et
            al. 2024, arXiv 2403.03206, section 3.1, with mean 0 and deviation 1).
        generator: Of the choice.
    """
    if spread == "uniform":
        return torch.randint(num_timesteps, (count,), generator=generator)
    share = torch.sigmoid(torch.randn(count, generator=generator))
    return (share * num_timesteps).long().clamp(max=num_timesteps - 1)


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
    masks = iter((others[:, 1::2] > 0).flatten(2).any(dim=2).cpu().unbind(dim=1))
    always = torch.ones(len(others), dtype=torch.bool)  # a case has its label map
    there = torch.stack([always if name == LABEL_MAP else next(masks) for name in names], dim=1)
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
