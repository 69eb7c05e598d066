"""Training pairs of a control: latents and the label maps that belong to them.

What it is: images and maps, plain, bent and mirrored together, the images encoded once.
In the flow: read before the first update of a control.
Sources: none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vcmaug.data.cases import Case
from vcmaug.data.deformation import warp_label_map
from vcmaug.data.labels import LabelScheme
from vcmaug.ldm.prior import Prior
from vcmaug.training.batches import flipped, read_images, read_index_maps, scalars_of
from vcmaug.training.bent import bent_image, displacement_for
from vcmaug.training.control_settings import ControlTraining

__all__ = ["Pairs", "labelled_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Training pairs.

    Attributes:
        z: Latents [M, L, x, y, z].
        index_maps: Channel numbers [M, X, Y, Z].
        scalars: [M, S], or None.
    """

    z: Tensor
    index_maps: Tensor
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
    return Pairs(z, all_maps, scalars)
