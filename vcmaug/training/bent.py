"""Bent copies of training volumes: more shapes than there are cases.

What it is: settings, one smooth random displacement, and an image under it.
In the flow: the prior bends images, the control bends images and label maps together.
Sources: Arsigny et al. 2006, MICCAI, through `data.deformation`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from vcmaug.config import Settings
from vcmaug.data.deformation import draw_velocity, integrate, upsampled, warp_image
from vcmaug.seeding import numpy_generator
from vcmaug.shapes import as_shape3

__all__ = ["BendSettings", "bent_image", "bent_images", "displacement_for"]


class BendSettings(Settings):
    """How many copies, and how far they are bent."""

    deformed_copies: int = Field(0, ge=0, description="bent copies of each case")
    max_displacement_mm: float = Field(6.0, ge=0)
    smoothness_mm: float = Field(16.0, gt=0)


def displacement_for(
    name: str,
    copy: int,
    *,
    settings: BendSettings,
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


def bent_image(image: Tensor, displacement: NDArray[np.float32]) -> Tensor:
    """Return an image [C, X, Y, Z] under a displacement."""
    return torch.from_numpy(
        np.stack([warp_image(channel, displacement) for channel in image.numpy()])
    )


def bent_images(
    images: Tensor,
    names: Sequence[str],
    *,
    settings: BendSettings,
    spacing_mm: tuple[float, float, float],
    seed: int,
) -> Tensor:
    """Return images [N, C, X, Y, Z] and, after them, their copies, one round after the other."""
    copies = [
        bent_image(
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
