"""Training pairs of a control: latents and the label maps that belong to them.

What it is: images and maps, plain, bent and mirrored together, the images encoded once.
In the flow: read before the first update of a control.
Sources: none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.conditions.base import SourceMap, as_it_is
from vcmaug.control.shown import ALONE, ShownSettings, further_channels, with_channels
from vcmaug.data.cases import Case
from vcmaug.data.deformation import warp_label_map
from vcmaug.data.labels import LabelScheme, from_index_map, index_map
from vcmaug.data.nifti import read_label_map
from vcmaug.data.volume import Volume
from vcmaug.ldm.prior import Prior
from vcmaug.training.autoencoder import encode_all
from vcmaug.training.batches import flipped, read_images, read_index_maps, scalars_of
from vcmaug.training.bent import bent_image, displacement_for
from vcmaug.training.control_settings import ControlTraining

__all__ = ["Pairs", "labelled_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Training pairs.

    Attributes:
        z: Latents [M, L, x, y, z].
        index_maps: Channel numbers [M, X, Y, Z], of the structures that are shown.
        scalars: [M, S], or None.
        further: Value and mask of the channels besides the map [M, 2 N, X, Y, Z], half precision;
            None: there are none.
    """

    z: Tensor
    index_maps: Tensor
    scalars: Tensor | None
    further: Tensor | None = None


def labelled_pairs(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    settings: ControlTraining,
    seed: int,
    shows: ShownSettings | None = None,
) -> Pairs:
    """Return plain, bent and mirrored pairs, encoded once, with the channels that are shown."""
    shows = shows or ShownSettings()
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
    further = None
    if shows.names != ALONE:
        rows = zip(all_images, all_maps, numbers, strict=True)
        made = [_further(i, m, cases[number], scheme, shows) for i, m, number in rows]
        further = torch.from_numpy(np.stack(made)).half()  # [M, 2 N, X, Y, Z]
    if shows.structures:
        values = from_index_map(all_maps.numpy(), scheme)
        all_maps = torch.from_numpy(index_map(values, shows.part_of(scheme)))
    if settings.flip:
        all_images = torch.cat([all_images, flipped(all_images)])
        all_maps = torch.cat([all_maps, flipped(all_maps)])
        further = None if further is None else torch.cat([further, flipped(further)])
        numbers = numbers * 2
    z = encode_all(prior.autoencoder, all_images) * prior.latent_scale  # [M, L, x, y, z]
    scalars = scalars_of(cases, prior.spec, fill=prior.card["scalar_fill"])
    scalars = None if scalars is None else scalars[numbers]
    return Pairs(z, all_maps, scalars, further)


def _further(
    image: Tensor, indices: Tensor, case: Case, scheme: LabelScheme, shows: ShownSettings
) -> NDArray[np.float32]:
    """Return the channels besides the map of one pair, made from its image."""
    affine = read_label_map(case.label, case_id=case.case_id).affine if case.label else np.eye(4)
    label_map = Volume(from_index_map(indices.numpy(), scheme), affine)
    images = {"image": Volume(image[0].numpy(), affine)}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    start = as_it_is(source, condition_id=f"training pair of {case.case_id}")
    channels = with_channels(start, shows, scheme).channels
    arrays = {name: volume.array for name, volume in channels.items()}
    return further_channels(arrays, shows.names, label_map.shape)
