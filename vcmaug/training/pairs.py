"""Training pairs of a control: latents and the label maps, or regions, that belong to them.

What it is: images encoded once, plain, bent and mirrored, each with its map or its drawn regions.
In the flow: read before the first update of a control.
Sources: none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vcmaug.data.cases import Case
from vcmaug.data.deformation import warp_label_map
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.ldm.prior import Prior
from vcmaug.seeding import numpy_generator
from vcmaug.training.batches import flipped, read_images, read_index_maps, scalars_of
from vcmaug.training.bent import bent_image, bent_images, displacement_for
from vcmaug.training.control_settings import ControlTraining, PretrainingSettings
from vcmaug.training.regions import drawn_regions

__all__ = ["Pairs", "labelled_pairs", "region_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Training pairs.

    Attributes:
        z: Latents [M, L, x, y, z].
        index_maps: Channel numbers [R, X, Y, Z].
        image_of: Which latents belong to a map, long [R].
        scalars: [M, S], or None.
    """

    z: Tensor
    index_maps: Tensor
    image_of: Tensor
    scalars: Tensor | None


def labelled_pairs(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    settings: ControlTraining,
    seed: int,
) -> Pairs:
    """Return plain, bent and mirrored pairs, encoded once."""
    images, maps = read_images(cases), read_index_maps(cases, scheme)
    numbers = list(range(len(cases)))  # which case each pair comes from
    pairs = list(zip(images, maps, strict=True))
    for number, case in enumerate(cases):
        for copy in range(settings.deformed_copies):
            displacement = displacement_for(
                case.case_id,
                copy,
                settings=settings,
                shape=maps.shape[1:],
                spacing_mm=prior.spec.grid.spacing_mm,
                seed=seed,
            )
            bent_map = warp_label_map(maps[number].numpy(), displacement)
            pairs.append((bent_image(images[number], displacement), torch.from_numpy(bent_map)))
            numbers.append(number)
    all_images = torch.stack([image for image, _ in pairs])  # [M, C, X, Y, Z]
    all_maps = torch.stack([index for _, index in pairs])  # [M, X, Y, Z]
    if settings.flip:
        all_images = torch.cat([all_images, flipped(all_images)])
        all_maps = torch.cat([all_maps, flipped(all_maps)])
        numbers = numbers * 2
    z = torch.cat([prior.encode(part) for part in all_images.split(8)])
    scalars = scalars_of(cases, prior.spec, fill=prior.card["scalar_fill"])
    scalars = None if scalars is None else scalars[numbers]
    return Pairs(z, all_maps, torch.arange(len(z)), scalars)


def region_pairs(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    settings: PretrainingSettings,
    seed: int,
) -> Pairs:
    """Return images and their bent copies, encoded once, with regions drawn from each."""
    names = [case.case_id for case in cases]
    spacing_mm = prior.spec.grid.spacing_mm
    images = bent_images(
        read_images(cases), names, settings=settings, spacing_mm=spacing_mm, seed=seed
    )  # [M, C, X, Y, Z]
    affine = np.diag([*spacing_mm, 1.0])
    maps = [
        drawn_regions(
            Volume(image[0].numpy(), affine),
            num_structures=scheme.num_structures,
            settings=settings.regions,
            generator=numpy_generator(seed, "regions", number, draw),
        )
        for number, image in enumerate(images)
        for draw in range(settings.regions.per_image)
    ]
    scalars = scalars_of(cases, prior.spec, fill=prior.card["scalar_fill"])
    return Pairs(
        z=torch.cat([prior.encode(part) for part in images.split(8)]),
        index_maps=torch.from_numpy(np.stack(maps)),
        image_of=torch.arange(len(images)).repeat_interleave(settings.regions.per_image),
        scalars=None if scalars is None else scalars.repeat(settings.deformed_copies + 1, 1),
    )
