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
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme, from_index_map, index_map
from vcmaug.data.mirror import Mirror, mirror_of
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.ldm.prior import Prior
from vcmaug.training.autoencoder import encode_all
from vcmaug.training.batches import flipped, read_images, read_index_maps, scalars_of
from vcmaug.training.bent import bent_image, displacement_for
from vcmaug.training.control_settings import ControlTraining

__all__ = ["Pairs", "labelled_pairs"]

_Pair = tuple[Tensor, Tensor]
"""Images [C + E, X, Y, Z], further sequences behind what the prior draws; index map [X, Y, Z]."""


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
    """Return plain, bent and mirrored pairs, encoded once, with the channels that are shown.

    Raises:
        DataError: Pairs are to be mirrored, and a structure lacks its other side.
    """
    shows, grid = shows or ShownSettings(), prior.spec.grid
    mirror = mirror_of(grid.orientation, scheme) if settings.flip else None
    images = [_with_sequences(*one, shows) for one in zip(read_images(cases), cases, strict=True)]
    pairs, owners = _with_bent_copies(cases, images, grid, scheme, settings, seed=seed)
    fill = prior.card["scalar_fill"]
    scalars = scalars_of(owners, prior.spec, fill=fill, and_mirrored=settings.flip)
    if mirror is not None:
        pairs, owners = [*pairs, *(_mirrored(pair, mirror) for pair in pairs)], owners * 2
    count = prior.spec.image_channels
    all_images = torch.stack([image[:count] for image, _ in pairs])  # [M, C, X, Y, Z]
    all_maps = torch.stack([index for _, index in pairs])  # [M, X, Y, Z]
    further = None
    if shows.names != ALONE:
        made = [
            _further(image[0], image[count:], index, case, scheme, shows)
            for (image, index), case in zip(pairs, owners, strict=True)
        ]
        further = torch.from_numpy(np.stack(made)).half()  # [M, 2 N, X, Y, Z]
    if shows.structures:
        values = from_index_map(all_maps.numpy(), scheme)
        all_maps = torch.from_numpy(index_map(values, shows.part_of(scheme)))
    z = encode_all(prior.autoencoder, all_images) * prior.latent_scale  # [M, L, x, y, z]
    return Pairs(z, all_maps, scalars, further)


def _sequences(case: Case, shows: ShownSettings) -> list[str]:
    """Return the further images of a case that are shown."""
    return [name for name in shows.names if name in case.extra_images]


def _with_sequences(image: Tensor, case: Case, shows: ShownSettings) -> Tensor:
    """Return the image [C, X, Y, Z] of a case with its further images that are shown behind it."""
    read = [
        read_image(case.extra_images[name], case_id=case.case_id).array
        for name in _sequences(case, shows)
    ]
    return torch.cat([image, *(torch.from_numpy(array)[None] for array in read)])


def _with_bent_copies(
    cases: Sequence[Case],
    images: Sequence[Tensor],
    grid: Grid,
    scheme: LabelScheme,
    settings: ControlTraining,
    *,
    seed: int,
) -> tuple[list[_Pair], list[Case]]:
    """Return the pairs of cases and their bent copies, and the case that each comes from."""
    maps = read_index_maps(cases, scheme)
    pairs: list[_Pair] = list(zip(images, maps, strict=True))
    owners = list(cases)
    for case, image, indices in zip(cases, images, maps, strict=True):
        for copy in range(settings.deformed_copies):
            displacement = displacement_for(
                case.case_id,
                copy,
                settings=settings,
                shape=maps.shape[1:],
                spacing_mm=grid.spacing_mm,
                seed=seed,
            )
            bent_map = warp_label_map(indices.numpy(), displacement)
            pairs.append((bent_image(image, displacement), torch.from_numpy(bent_map)))
            owners.append(case)
    return pairs, owners


def _mirrored(pair: _Pair, mirror: Mirror) -> _Pair:
    """Return image and index map turned round, structures of two sides in each other's place."""
    image, indices = (flipped(one, axis=mirror.axis) for one in pair)
    return image, torch.from_numpy(mirror.channels[indices.numpy()])


def _further(
    image: Tensor,
    sequences: Tensor,
    indices: Tensor,
    case: Case,
    scheme: LabelScheme,
    shows: ShownSettings,
) -> NDArray[np.float32]:
    """Return the channels besides the map of one pair, made from its images."""
    affine = read_label_map(case.label, case_id=case.case_id).affine if case.label else np.eye(4)
    label_map = Volume(from_index_map(indices.numpy(), scheme), affine)
    found = {"image": image, **dict(zip(_sequences(case, shows), sequences, strict=True))}
    images = {name: Volume(one.numpy(), affine) for name, one in found.items()}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    start = as_it_is(source, condition_id=f"training pair of {case.case_id}")
    channels = with_channels(start, shows, scheme).channels
    arrays = {name: volume.array for name, volume in channels.items()}
    return further_channels(arrays, shows.names, label_map.shape)
