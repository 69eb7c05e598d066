"""The indexing of a lesion atlas, once per folder of conditions: masks in, lesions out.

Every mask that is wrong is named at once.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.affine import spacing_of
from vcmaug.conditions.atlas import Atlas, Lesion, extent_mm
from vcmaug.conditions.atlas_settings import AtlasSettings
from vcmaug.conditions.base import SourceMap
from vcmaug.data.geometry import reorient
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError, FaultyDataSet

__all__ = ["index_atlas", "refuse_other_space"]

_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
_LEAST_IN_HEAD = 0.5  # of a mask's voxels; below it mask and template lie in different spaces


def index_atlas(settings: AtlasSettings) -> Atlas:
    """Return the index of an atlas.

    Raises:
        DataError: There is no mask, or the template cannot be read.
        FaultyDataSet: Masks hold unknown values, cannot be read, or lie outside the head of the
            template; every file is named.
    """
    rows = _listed(settings)
    head = _head_of(settings.template)
    lesions: list[Lesion] = []
    counts: dict[str, int] = {}
    faults: list[str] = []
    for row in rows:
        try:
            found = _lesions_of(row["path"], row["subject_id"], settings, head)
        except DataError as fault:
            faults.append(str(fault))
            continue
        counts[row["subject_id"]] = counts.get(row["subject_id"], 0) + len(found)
        lesions += found
    if faults:
        raise FaultyDataSet(f"indexing the lesion atlas {settings.source}", faults)
    if not lesions:
        raise DataError(
            f"indexing the lesion atlas {settings.source}: {len(rows)} masks hold no lesion of "
            f"{settings.smallest_mm3:g} mm3 or more. Check `values`, or lower smallest_mm3."
        )
    files = {row["subject_id"]: str(row["path"]) for row in rows}
    box_mm = _box_of(head) if head is not None else _box_around(lesions)
    return Atlas(tuple(lesions), counts, files, tuple(settings.values), box_mm)


def refuse_other_space(atlas: Atlas, sources: Sequence[SourceMap]) -> None:
    """Refuse an atlas whose masks do not lie in the hosts' space as they are.

    Raises:
        FaultyDataSet: Masks have other voxels than the hosts, or all their lesions lie outside the
            hosts' heads; every file is named.
    """
    faults = []
    spacings = {source.label_map.spacing_mm for source in sources}
    for subject_id, file in atlas.files.items():
        own = [one for one in atlas.lesions if one.subject_id == subject_id]
        if not own:
            continue
        spacing = spacing_of(own[0].affine)
        if any(not np.allclose(spacing, other, atol=1e-3) for other in spacings):
            faults.append(f"{file}: its voxels are {spacing} mm, the hosts' {sorted(spacings)[0]}")
        elif not any(_in_head(one, source.label_map) for source in sources for one in own):
            faults.append(f"{file}: none of its {len(own)} lesions lies in the head of a host")
    if faults:
        raise FaultyDataSet(
            "placing lesions in a common space",
            faults,
            advice="Ask for placement registered (with atlas.template) or sampled.",
        )


def _in_head(lesion: Lesion, host: Volume) -> bool:
    """Return whether a lesion's centre has a label in a host."""
    back = np.linalg.inv(host.affine)
    place = np.rint(back[:3, :3] @ lesion.centre_mm + back[:3, 3]).astype(int)
    if (place < 0).any() or (place >= np.array(host.shape)).any():
        return False
    return bool(host.array[tuple(place)] > 0)


def _listed(settings: AtlasSettings) -> list[dict[str, Any]]:
    """Return path and subject of every mask of a folder or table."""
    source = settings.source
    if source.suffix == ".csv" and source.exists():
        table = pd.read_csv(source, dtype=str).fillna("")
        if not {"mask", "subject_id"} <= set(table):
            found = ", ".join(map(str, table.columns))
            raise DataError(
                f"indexing the lesion atlas {source}: found the columns {found}; expected mask and "
                "subject_id (and, if you like, role)."
            )
        if "fold" in table:
            raise DataError(
                f"indexing the lesion atlas {source}: the column fold is called role "
                "now. Rename it."
            )
        return [
            {"path": source.parent / row["mask"], "subject_id": row["subject_id"]}
            for row in table.to_dict("records")
            if row.get("role", "") in ("", settings.role)
        ]
    paths = sorted(source.glob(settings.pattern)) if source.is_dir() else []
    if not paths:
        raise DataError(
            f"indexing the lesion atlas {source}: no file matches {settings.pattern!r}. Give a "
            "folder of NIfTI masks, or a table (.csv) with the columns mask and subject_id."
        )
    return [{"path": path, "subject_id": _subject(path, settings)} for path in paths]


def _subject(path: Path, settings: AtlasSettings) -> str:
    """Return the subject in a file's name."""
    found = re.search(settings.subject, path.as_posix())
    if found is None:
        raise DataError(
            f"indexing the lesion atlas: {path} does not match `subject` {settings.subject!r}."
        )
    return str(found.group(1))


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
    unknown = sorted(set(np.unique(volume.array).tolist()) - {0, *settings.values.values()})
    if unknown:
        raise DataError(
            f"{path}: found the values {unknown}, expected 0 and "
            f"{sorted(settings.values.values())}. List them under `values`."
        )
    if head is not None:
        _refuse_outside(path, volume, head)
    classes = np.zeros(volume.shape, dtype=np.uint8)
    for number, value in enumerate(settings.values.values(), start=1):
        classes[volume.array == value] = number
    parts, _ = ndimage.label(classes > 0, _NEIGHBOURS)
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        inside = parts[box] == number
        voxels = int(np.count_nonzero(inside))
        if voxels * voxel_mm3 < settings.smallest_mm3:
            continue
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in box], dtype=float)
        centre = affine[:3, :3] @ np.argwhere(inside).mean(axis=0) + affine[:3, 3]
        found.append(
            Lesion(
                lesion_id=f"{subject_id}/{number}",
                subject_id=subject_id,
                centre_mm=centre,
                volume_mm3=voxels * voxel_mm3,
                crop=np.where(inside, classes[box], 0).astype(np.uint8),
                affine=affine,
            )
        )
    return found


def _refuse_outside(path: Path, volume: Volume, head: Volume) -> None:
    """Refuse a mask most of which lies outside the head of the template."""
    places = np.argwhere(volume.array > 0)
    if not len(places):
        return
    world = places @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    back = np.linalg.inv(head.affine)
    there = np.rint(world @ back[:3, :3].T + back[:3, 3]).astype(int)
    within = ((there >= 0) & (there < np.array(head.shape))).all(axis=1)
    inside = within.copy()
    inside[within] = head.array[tuple(there[within].T)]
    if inside.mean() < _LEAST_IN_HEAD:
        raise DataError(
            f"{path}: {inside.mean():.0%} of its lesion voxels lie in the head of the template, "
            f"expected {_LEAST_IN_HEAD:.0%} or more. Mask and template are in different spaces."
        )


def _box_of(head: Volume) -> NDArray[np.float64]:
    """Return the corners of a head in world millimetres, [2, 3]."""
    places = np.argwhere(head.array)
    corners = np.stack([places.min(axis=0), places.max(axis=0)])
    world: NDArray[np.float64] = corners @ head.affine[:3, :3].T + head.affine[:3, 3]
    return world


def _box_around(lesions: list[Lesion]) -> NDArray[np.float64]:
    """Return the corners of all lesions together in world millimetres, [2, 3]."""
    lower = np.min([one.affine[:3, 3] for one in lesions], axis=0)
    upper = np.max([one.affine[:3, 3] + np.array(extent_mm(one)) for one in lesions], axis=0)
    return np.stack([lower, upper])
