"""Prepared cases as tensors in memory, plain and deformed: images, label maps, scalars.

The training of a prior deforms images, that of a control images and label maps together, for more
shapes than there are cases.

References:
    Arsigny et al. 2006, MICCAI, through `data.deformation`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.data.cases import Case
from vcmaug.data.deformation import draw_velocity, integrate, upsampled, warp_image
from vcmaug.data.geometry import Grid
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.scalars import raw_value, scalar_vector
from vcmaug.errors import DataError
from vcmaug.ldm.spec import PriorSpec
from vcmaug.seeding import numpy_generator
from vcmaug.shapes import as_shape3
from vcmaug.training.settings import DeformSettings

__all__ = [
    "deformed_image",
    "displacement_for",
    "images_of",
    "index_map_of",
    "read_images",
    "scalars_of",
    "with_deformed_copies",
]


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
        for case in cases:
            values = {scalar.name: raw_value(scalar, case.row) for scalar in scalars}
            for scalar in scalars if clip_volumes else ():
                value = values[scalar.name]
                if scalar.structures and value is not None:
                    values[scalar.name] = min(max(value, scalar.low), scalar.high)
            found.append(torch.from_numpy(scalar_vector(scalars, values, fill=fill)))
    return torch.stack(found)


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
    channels = [warp_image(channel, displacement) for channel in image.numpy()]
    return torch.from_numpy(np.stack(channels))


def with_deformed_copies(
    images: Tensor, names: Sequence[str], *, settings: DeformSettings, grid: Grid, seed: int
) -> Tensor:
    """Return images [N, C, X, Y, Z] and, after them, their copies, one round after the other."""
    copies = [
        deformed_image(image, displacement_for(name, copy, settings=settings, grid=grid, seed=seed))
        for copy in range(settings.deformed_copies)
        for image, name in zip(images, names, strict=True)
    ]
    return torch.cat([images, torch.stack(copies)]) if copies else images
