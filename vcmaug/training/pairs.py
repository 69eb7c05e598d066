"""Training pairs of a control: latents and the label maps that belong to them.

Images and maps come plain, deformed and mirrored together; images are encoded once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.conditions.base import SourceMap, as_it_is, recomputed
from vcmaug.control.shown import ALONE, ShownSettings, further_channels, with_channels
from vcmaug.data.cases import Case
from vcmaug.data.deformation import warp_label_map
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme, index_map
from vcmaug.data.mirror import Mirror, mirror_of
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.ldm.autoencoder import volumes_at_once
from vcmaug.ldm.prior import Prior
from vcmaug.seeding import stable_seed
from vcmaug.training.autoencoder import encode_all
from vcmaug.training.batches import flipped
from vcmaug.training.cases import read_index_maps, scalars_of
from vcmaug.training.deformed import deformed_image, displacement_for
from vcmaug.training.settings import ControlTraining

__all__ = ["Pairs", "labelled_pairs"]


class _Pair(NamedTuple):
    """One pair: images [C + E, X, Y, Z], index map [X, Y, Z], and the case that it comes from.

    Of the images, other sequences are behind what the prior draws. The row has the volumes of the
    map, from which scalars are made; the seed is of what builders of other channels draw.
    """

    images: Tensor
    indices: Tensor
    case: Case
    row: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Pairs:
    """Training pairs.

    Attributes:
        z: Latents [M, L, x, y, z].
        index_maps: Channel numbers [M, X, Y, Z], of the structures that are shown.
        scalars: [M, S], or None.
        further: Value and mask of the channels besides the map [M, 2 N, X, Y, Z], half precision;
            None: there are none.
        names: Of the channels that are shown, the map among them or not.
    """

    z: Tensor
    index_maps: Tensor
    scalars: Tensor | None
    further: Tensor | None = None
    names: tuple[str, ...] = ALONE


def labelled_pairs(
    cases: Sequence[Case],
    *,
    prior: Prior,
    scheme: LabelScheme,
    settings: ControlTraining,
    seed: int,
    shows: ShownSettings | None = None,
) -> Pairs:
    """Return plain, deformed and mirrored pairs, encoded once, with the channels that are shown.

    Raises:
        DataError: Pairs are to be mirrored, and a structure lacks its other side.
    """
    shows, grid = shows or ShownSettings(), prior.spec.grid
    mirror = mirror_of(grid.orientation, scheme) if settings.flip else None
    every = _every_pair(cases, grid, scheme, settings, shows, seed=seed)
    plain, turned, rows = [], [], []
    while some := list(islice(every, volumes_at_once(grid.shape))):
        plain.append(_kept(some, prior, scheme, shows))
        rows += [pair.row for pair in some]
        if mirror is not None:
            turned.append(_kept([_mirrored(pair, mirror) for pair in some], prior, scheme, shows))
    z, index_maps, further = zip(*plain, *turned, strict=True)
    return Pairs(
        z=torch.cat(z),
        index_maps=torch.cat(index_maps),
        scalars=scalars_of(
            rows,
            prior.spec,
            fill=prior.card.scalar_fill,
            and_mirrored=settings.flip,
            clip_volumes=True,
        ),
        further=None if shows.names == ALONE else torch.cat(further),
        names=shows.names,
    )


def _kept(
    pairs: Sequence[_Pair], prior: Prior, scheme: LabelScheme, shows: ShownSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents [B, L, x, y, z], index maps and other channels of a few pairs."""
    count = prior.spec.image_channels
    images = torch.stack([pair.images[:count] for pair in pairs])  # [B, C, X, Y, Z]
    maps = torch.stack([pair.indices for pair in pairs])  # [B, X, Y, Z]
    further = torch.empty(0)
    if shows.names != ALONE:
        made = [_further(pair, count, scheme, shows) for pair in pairs]
        further = torch.from_numpy(np.stack(made)).half()  # [B, 2 N, X, Y, Z]
    if shows.structures:
        maps = torch.from_numpy(index_map(maps.numpy(), shows.part_of(scheme)))
    return encode_all(prior.autoencoder, images) * prior.latent_scale, maps, further


def _sequences(case: Case, shows: ShownSettings) -> list[str]:
    """Return the other images of a case that are shown."""
    return [name for name in shows.names if name in case.extra_images]


def _images_of(case: Case, shows: ShownSettings) -> Tensor:
    """Return the image of a case, and behind it its other images that are shown."""
    paths = [case.image, *(case.extra_images[name] for name in _sequences(case, shows))]
    arrays = [read_image(path, case_id=case.case_id).array for path in paths]
    return torch.from_numpy(np.stack(arrays).astype(np.float32))


def _every_pair(
    cases: Sequence[Case],
    grid: Grid,
    scheme: LabelScheme,
    settings: ControlTraining,
    shows: ShownSettings,
    *,
    seed: int,
) -> Iterator[_Pair]:
    """Yield the pairs of all cases, then their deformed copies, one case in memory at a time."""
    for case in cases:
        indices = read_index_maps([case])[0]
        row = _with_volumes(case, indices.numpy(), grid, scheme)
        own = stable_seed(seed, case.case_id)
        yield _Pair(_images_of(case, shows), indices, case, row, own)
    for case in cases if settings.deformed_copies else ():
        images, indices = _images_of(case, shows), read_index_maps([case])[0]
        for copy in range(settings.deformed_copies):
            displacement = displacement_for(
                case.case_id,
                copy,
                settings=settings,
                shape=indices.shape,
                spacing_mm=grid.spacing_mm,
                seed=seed,
            )
            deformed_map = warp_label_map(indices.numpy(), displacement)
            yield _Pair(
                deformed_image(images, displacement),
                torch.from_numpy(deformed_map),
                case,
                _with_volumes(case, deformed_map, grid, scheme),
                stable_seed(seed, case.case_id, copy),
            )


def _with_volumes(
    case: Case, indices: NDArray[np.uint8], grid: Grid, scheme: LabelScheme
) -> Mapping[str, Any]:
    """Return the row of a case with the volumes of a map of channel numbers [X, Y, Z]."""
    affine = np.diag((*grid.spacing_mm, 1.0))
    label_map = Volume(indices, affine)
    return recomputed(case.columns, label_map, scheme=scheme)


def _mirrored(pair: _Pair, mirror: Mirror) -> _Pair:
    """Return a pair turned round, structures of two sides in each other's place."""
    images, indices = (flipped(one, axis=mirror.axis) for one in (pair.images, pair.indices))
    turned, own = mirror.channels[indices.numpy()], stable_seed(pair.seed, "mirrored")
    return _Pair(images, torch.from_numpy(turned), pair.case, pair.row, own)


def _further(
    pair: _Pair, count: int, scheme: LabelScheme, shows: ShownSettings
) -> NDArray[np.float32]:
    """Return the channels besides the map of one pair, made from its images.

    The first `count` of them are what the prior draws.
    """
    case = pair.case
    affine = read_label_map(case.label, case_id=case.case_id).affine if case.label else np.eye(4)
    label_map = Volume(pair.indices.numpy(), affine)
    sequences = dict(zip(_sequences(case, shows), pair.images[count:], strict=True))
    found = {"image": pair.images[0], **sequences}
    images = {name: Volume(one.numpy(), affine) for name, one in found.items()}
    source = SourceMap(case.case_id, case.subject_id, label_map, {}, images)
    start = as_it_is(source, condition_id=f"training pair of {case.case_id}")
    channels = with_channels(start, shows, scheme, seed=pair.seed).channels
    arrays = {name: volume.array for name, volume in channels.items()}
    return further_channels(arrays, shows.names, label_map.shape)
