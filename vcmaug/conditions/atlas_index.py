"""The indexing of a lesion atlas, once per folder of conditions: masks in, lesions out.

Every mask that is wrong is named at once. Hosts are registered to the template of an atlas here.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from vcmaug.affine import inverse, moved_points
from vcmaug.conditions.atlas import Atlas, AtlasSettings, Lesion
from vcmaug.conditions.base import SourceMap
from vcmaug.conditions.topology import NEIGHBOURS
from vcmaug.data.geometry import reorient
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.registration import register
from vcmaug.data.volume import Volume, other_spacing
from vcmaug.errors import DataError, FaultyDataSet

__all__ = ["HostToTemplate", "index_atlas", "refuse_other_space", "register_host"]

_LEAST_IN_HEAD = 0.5  # of a mask's voxels; below it mask and template lie in different spaces


@dataclass(frozen=True)
class HostToTemplate:
    """A source to be registered to the template of an atlas."""

    case_id: str
    image: Path
    template: Path
    out: Path

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"registration of case {self.case_id}"


def register_host(pair: HostToTemplate) -> None:
    """Register one source to a template and keep the result."""
    register(
        read_image(pair.image, case_id=pair.case_id),
        read_image(pair.template, case_id="the template of the atlas"),
        names=(f"case {pair.case_id}", f"the template {pair.template}"),
    ).write(pair.out)


def index_atlas(settings: AtlasSettings) -> Atlas:
    """Return the index of an atlas.

    Raises:
        DataError: There is no mask, or the template cannot be read.
        FaultyDataSet: Masks hold unknown values, cannot be read, or lie outside the head of the
            template; every file is named.
    """
    masks = _listed(settings)
    head = _head_of(settings.template)
    lesions: list[Lesion] = []
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for path, subject_id in masks:
        try:
            found = _lesions_of(path, subject_id, settings, head)
        except DataError as fault:
            faults.append(str(fault))
            continue
        counts[subject_id] += len(found)
        lesions += found
    if faults:
        raise FaultyDataSet(f"indexing the lesion atlas {settings.source}", faults)
    if not lesions:
        raise DataError(
            f"indexing the lesion atlas {settings.source}: {len(masks)} masks hold no lesion of "
            f"{settings.smallest_mm3:g} mm3 or more. Check `values`, or lower smallest_mm3."
        )
    files = {subject_id: str(path) for path, subject_id in masks}
    box_mm = _box_around(lesions) if head is None else _box_of(head)
    return Atlas(tuple(lesions), counts, files, tuple(settings.values), box_mm)


def refuse_other_space(atlas: Atlas, sources: Sequence[SourceMap]) -> None:
    """Refuse an atlas whose masks do not lie in the hosts' space as they are.

    Raises:
        FaultyDataSet: Masks have other voxels than the hosts, or all their lesions lie outside the
            hosts' heads; every file is named.
    """
    faults = []
    hosts = [reorient(source.label_map, "RAS") for source in sources]  # as lesions are
    for subject_id, file in atlas.files.items():
        own = [one for one in atlas.lesions if one.subject_id == subject_id]
        if not own:
            continue
        spacing, centres_mm = own[0].spacing_mm, np.stack([one.centre_mm for one in own])
        if others := {host.spacing_mm for host in hosts if other_spacing(spacing, than=host)}:
            faults.append(f"{file}: its voxels are {spacing} mm, the hosts' {min(others)}")
        elif not any(_in_head(centres_mm, host).any() for host in hosts):
            faults.append(f"{file}: none of its {len(own)} lesions lies in the head of a host")
    if faults:
        raise FaultyDataSet(
            "placing lesions in a common space",
            faults,
            advice="Ask for placement registered (with atlas.template) or sampled.",
        )


def _in_head(places_mm: ArrayLike, head: Volume) -> NDArray[np.bool_]:
    """Return which places [N, 3] in world millimetres lie where a volume is above 0."""
    there = np.rint(moved_points(inverse(head.affine), places_mm)).astype(int)
    inside: NDArray[np.bool_] = np.all((there >= 0) & (there < head.shape), axis=1)
    inside[inside] = head.array[tuple(there[inside].T)] > 0
    return inside


def _listed(settings: AtlasSettings) -> list[tuple[Path, str]]:
    """Return path and subject of every mask of a folder or table."""
    source = settings.source
    if settings.is_table and source.exists():
        faults: list[str] = []
        listed = settings.in_table(faults)
        if faults:
            raise FaultyDataSet(f"indexing the lesion atlas {source}", faults)
        return listed
    paths = settings.masks() if source.is_dir() else []
    if not paths:
        raise DataError(
            f"indexing the lesion atlas {source}: no file matches {settings.pattern!r}. Give a "
            "folder of NIfTI masks, or a table (.csv, .tsv) with the columns mask and subject_id."
        )
    found = [(path, re.search(settings.subject, path.as_posix())) for path in paths]
    listed = [(path, match[1]) for path, match in found if match and match[1]]
    if strange := sorted({*paths} - {path for path, _ in listed}):
        faults = [f"{path}: does not match `subject` {settings.subject!r}" for path in strange]
        raise FaultyDataSet(f"indexing the lesion atlas {source}", faults)
    return listed


def _head_of(template: Path | None) -> Volume | None:
    """Return where the template is not empty, as RAS."""
    if template is None:
        return None
    image = reorient(read_image(template, case_id="the template of the atlas"), "RAS")
    return Volume(ndimage.binary_fill_holes(image.array > 0), image.affine)


def _lesions_of(
    path: Path, subject_id: str, settings: AtlasSettings, head: Volume | None
) -> list[Lesion]:
    """Return the lesions of one mask."""
    volume = reorient(read_label_map(path, case_id=subject_id), "RAS")
    values = list(settings.values.values())
    unknown = sorted(set(np.unique(volume.array).tolist()) - {0, *values})
    if unknown:
        raise DataError(
            f"{path}: found the values {unknown}, expected 0 and {sorted(values)}. List them under "
            "`values`."
        )
    if head is not None:
        _refuse_outside(path, volume, head)
    classes = np.zeros(volume.shape, dtype=np.uint8)
    for number, value in enumerate(values, start=1):
        classes[volume.array == value] = number
    parts, _ = ndimage.label(classes > 0, NEIGHBOURS)
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        inside = parts[box] == number
        volume_mm3 = int(np.count_nonzero(inside)) * voxel_mm3
        if volume_mm3 < settings.smallest_mm3:
            continue
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in box], dtype=float)
        found.append(
            Lesion(
                lesion_id=f"{subject_id}/{number}",
                subject_id=subject_id,
                centre_mm=affine[:3, :3] @ np.argwhere(inside).mean(axis=0) + affine[:3, 3],
                volume_mm3=volume_mm3,
                crop=np.where(inside, classes[box], 0).astype(np.uint8),
                affine=affine,
            )
        )
    return found


def _refuse_outside(path: Path, volume: Volume, head: Volume) -> None:
    """Refuse a mask most of which lies outside the head of the template."""
    places = np.argwhere(volume.array > 0)
    share = _in_head(moved_points(volume.affine, places), head).mean() if len(places) else 1.0
    if share < _LEAST_IN_HEAD:
        raise DataError(
            f"{path}: {share:.0%} of its lesion voxels lie in the head of the template, expected "
            f"{_LEAST_IN_HEAD:.0%} or more. Mask and template are in different spaces."
        )


def _box_of(head: Volume) -> NDArray[np.float64]:
    """Return the corners of a head in world millimetres, [2, 3]."""
    places = np.argwhere(head.array)
    return moved_points(head.affine, [places.min(axis=0), places.max(axis=0)])


def _box_around(lesions: Sequence[Lesion]) -> NDArray[np.float64]:
    """Return the corners of all lesions together in world millimetres, [2, 3]."""
    lower = np.min([one.affine[:3, 3] for one in lesions], axis=0)
    upper = np.max([one.affine[:3, 3] + one.extent_mm for one in lesions], axis=0)
    return np.stack([lower, upper])
