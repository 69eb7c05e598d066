"""Deformed copies of training volumes, for more shapes than there are cases.

The training of a prior deforms images, that of a control images and label maps together.

References:
    Arsigny et al. 2006, MICCAI, through `data.deformation`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.data.deformation import draw_velocity, integrate, upsampled, warp_image
from vcmaug.seeding import numpy_generator
from vcmaug.shapes import as_shape3
from vcmaug.training.settings import DeformSettings

__all__ = ["deformed_image", "with_deformed_copies", "displacement_for"]


def displacement_for(
    name: str,
    copy: int,
    *,
    settings: DeformSettings,
    shape: Sequence[int],
    spacing_mm: tuple[float, float, float],
    seed: int,
) -> NDArray[np.float32]:
    """Return the displacement [3, X, Y, Z] in voxels of one copy of a case."""
    grid = as_shape3(shape)
    velocity = draw_velocity(
        grid,
        spacing_mm=spacing_mm,
        max_displacement_mm=settings.max_displacement_mm,
        smoothness_mm=settings.smoothness_mm,
        generator=numpy_generator(seed, name, "bent pair", copy),
    )
    return upsampled(integrate(velocity, grid), grid)


def deformed_image(image: Tensor, displacement: NDArray[np.float32]) -> Tensor:
    """Return an image [C, X, Y, Z] under a displacement."""
    return torch.from_numpy(
        np.stack([warp_image(channel, displacement) for channel in image.numpy()])
    )


def with_deformed_copies(
    images: Tensor,
    names: Sequence[str],
    *,
    settings: DeformSettings,
    spacing_mm: tuple[float, float, float],
    seed: int,
) -> Tensor:
    """Return images [N, C, X, Y, Z] and, after them, their copies, one round after the other."""
    copies = [
        deformed_image(
            image,
            displacement_for(
                name,
                copy,
                settings=settings,
                shape=image.shape[1:],
                spacing_mm=spacing_mm,
                seed=seed,
            ),
        )
        for copy in range(settings.deformed_copies)
        for image, name in zip(images, names, strict=True)
    ]
    return torch.cat([images, torch.stack(copies)]) if copies else images
