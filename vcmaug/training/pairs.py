"""Training pairs of a control: latents and the label maps that belong to them.

Images and maps come plain, deformed and mirrored together; images are encoded once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.conditions.base import SourceMap
from vcmaug.control.shown import ALONE, channels_for, stacked_channels
from vcmaug.data.case import Measured
from vcmaug.data.cases import Case
from vcmaug.data.deformation import deform_label_map
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import volumes_mm3
from vcmaug.data.mirror import Mirror, mirror_of
from vcmaug.data.nifti import read_label_map
from vcmaug.data.volume import Volume
from vcmaug.ldm.autoencoder import volumes_at_once
from vcmaug.ldm.prior import Prior
from vcmaug.seeding import stable_seed
from vcmaug.training.autoencoder import encode_all
from vcmaug.training.data import (
    deformed_image,
    displacement_for,
    flipped,
    images_of,
    index_map_of,
    scalars_of,
)
from vcmaug.training.settings import ControlJob

__all__ = ["Pairs", "labelled_pairs"]


class _Pair(NamedTuple):
    """One pair: images [C + E, X, Y, Z], channel numbers [X, Y, Z], and its case.

    Of the images, other sequences are behind what the prior draws. The case is measured on this
    map, for its scalars; the seed is of what builders of other channels draw.
    """

    images: Tensor
    indices: NDArray[np.uint8]
    case: Case
    seed: int


@dataclass(frozen=True)
class Pairs:
    """Training pairs.

    Attributes:
        z: Latents [M, L, x, y, z].
        index_maps: Channel numbers [M, X, Y, Z], of the structures that are shown.
        scalars: [M, S], or None.
        channels: Value and mask of those besides the map [M, 2 N, X, Y, Z], half precision; None:
            there are none.
        names: Of the channels that are shown, the map among them or not.
    """

    z: Tensor
    index_maps: Tensor
    scalars: Tensor | None
    channels: Tensor | None = None
    names: tuple[str, ...] = ALONE


def labelled_pairs(cases: Sequence[Case], *, prior: Prior, job: ControlJob) -> Pairs:
    """Return plain, deformed and mirrored pairs, encoded once, with the channels that are shown.

    Raises:
        DataError: Pairs are to be mirrored, and a structure lacks its other side.
    """
    grid, names, flip = prior.spec.grid, job.shows.names, job.settings.flip
    mirror = mirror_of(grid.orientation, job.scheme) if flip else None
    every = _every_pair(cases, grid, job)
    plain, turned, measured = [], [], []
    while some := list(islice(every, volumes_at_once(grid.shape))):
        plain.append(_tensors(some, prior, job))
        measured += [pair.case for pair in some]
        if mirror is not None:
            turned.append(_tensors([_mirrored(pair, mirror) for pair in some], prior, job))
    z, index_maps, channels = zip(*plain, *turned, strict=True)
    fill = prior.card.scalar_fill
    return Pairs(
        z=torch.cat(z),
        index_maps=torch.cat(index_maps),
        scalars=scalars_of(measured, prior.spec, fill=fill, and_mirrored=flip, clip_volumes=True),
        channels=None if names == ALONE else torch.cat(channels),
        names=names,
    )


def _every_pair(cases: Sequence[Case], grid: Grid, job: ControlJob) -> Iterator[_Pair]:
    """Yield the pairs of all cases, then their deformed copies, one case in memory at a time."""
    for case in cases:
        images, indices = images_of(case, _others(case, job)), index_map_of(case)
        seed = stable_seed(job.seed, case.case_id)
        yield _Pair(images, indices, _of(case, indices, grid, job), seed)
    for case in cases if job.settings.deformed_copies else ():
        images, indices = images_of(case, _others(case, job)), index_map_of(case)
        for copy in range(job.settings.deformed_copies):
            displacement = displacement_for(
                case.case_id, copy, settings=job.settings, grid=grid, seed=job.seed
            )
            deformed = deform_label_map(indices, displacement)
            yield _Pair(
                deformed_image(images, displacement),
                deformed,
                _of(case, deformed, grid, job),
                stable_seed(job.seed, case.case_id, copy),
            )


def _others(case: Case, job: ControlJob) -> list[str]:
    """Return the other images of a case that are shown."""
    return [name for name in job.shows.names if name in case.extra_images]


def _of(case: Case, indices: NDArray[np.uint8], grid: Grid, job: ControlJob) -> Case:
    """Return a case, measured on a map of channel numbers [X, Y, Z]."""
    return replace(case, measured=Measured(volumes_mm3(indices, job.scheme, grid.spacing_mm)))


def _mirrored(pair: _Pair, mirror: Mirror) -> _Pair:
    """Return a pair turned round, structures of two sides in each other's place."""
    indices = mirror.channels[np.flip(pair.indices, axis=mirror.axis)]
    images, seed = flipped(pair.images, axis=mirror.axis), stable_seed(pair.seed, "mirrored")
    return _Pair(images, indices, pair.case, seed)


def _tensors(
    pairs: Sequence[_Pair], prior: Prior, job: ControlJob
) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents [B, L, x, y, z], index maps and other channels of a few pairs."""
    count = prior.spec.image_channels
    images = torch.stack([pair.images[:count] for pair in pairs])  # [B, C, X, Y, Z]
    maps = np.stack([pair.indices for pair in pairs])  # [B, X, Y, Z]
    channels = torch.empty(0)
    if job.shows.names != ALONE:
        made = np.stack([_channels(pair, count, job) for pair in pairs])
        channels = torch.from_numpy(made).half()  # [B, 2 N, X, Y, Z]
    if job.shows.structures:
        maps = job.structures.channels(maps)
    z = encode_all(prior.autoencoder, images) * prior.latent_scale
    return z, torch.from_numpy(maps), channels


def _channels(pair: _Pair, count: int, job: ControlJob) -> NDArray[np.float32]:
    """Return the channels besides the map of one pair, made from its images.

    The first `count` of them are what the prior draws.
    """
    case = pair.case
    affine = read_label_map(case.label, case_id=case.case_id).affine if case.label else np.eye(4)
    label_map = Volume(pair.indices, affine)
    found = {"image": pair.images[0]}
    found |= dict(zip(_others(case, job), pair.images[count:], strict=True))
    images = {name: Volume(image.numpy(), affine) for name, image in found.items()}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    channels = channels_for(source, job.shows, job.scheme, seed=pair.seed)
    arrays = {name: volume.array for name, volume in channels.items()}
    return stacked_channels(arrays, job.shows.names, label_map.shape)
