"""The gallery of a folder of conditions: each source beside what became of it.

Three planes of source and result with the outlines of their structures, as a PNG.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.conditions.builder import images_followed
from vcmaug.conditions.spec import ConditionSpec
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.conditions.workshop import map_bytes, workshop_in
from vcmaug.data.case import LABEL
from vcmaug.data.cases import Case
from vcmaug.data.nifti import label_map_in, read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.files import write_bytes
from vcmaug.report.figures import PLANES, draw_slice, panels, png

__all__ = ["write_gallery"]

_PER_CHAIN = 2
_MARGINS = {"top": 0.95, "hspace": 0.12}


def write_gallery(folder: Path) -> Path:
    """Write gallery.png into a folder of conditions and return its path.

    The first conditions of each chain are shown, not chosen by eye. Outlines lie on the image
    channel that the condition brings, else on the image of the source, deformed as its map was
    where it can; slices pass through what changed.
    """
    spec, table = ConditionSpec.read(folder), read_conditions(folder)
    by_id = {case.case_id: case for case in spec.sources}
    rows = _first_of_each_chain(table)
    wide = len(PLANES)
    size = (4.0 * wide, 2.15 * len(rows))
    figure, axes = panels(len(rows), 2 * wide, size=size, dpi=100, margins=_MARGINS)
    for line, row in zip(axes, rows, strict=True):
        source = by_id[row.source_case_ids[0]]
        before, after = _maps(folder, row, source)
        images = _images(folder, row, source)
        where = _most_changed(before.array, after.array)
        titles = f"{source.case_id}: source", f"{row.condition_id}: {row.builder}"
        for place, title in zip((line[0], line[wide]), titles, strict=True):
            place.set_title(title, color="white", fontsize=8, loc="left")
        for k, plane in enumerate(PLANES):
            draw_slice(line[k], images[0], before.array, spec.scheme, plane, where[plane])
            draw_slice(line[wide + k], images[1], after.array, spec.scheme, plane, where[plane])
    path = folder / "gallery.png"
    write_bytes(path, png(figure))
    return path


def _first_of_each_chain(table: Sequence[ConditionRow]) -> list[ConditionRow]:
    """Return the first rows of each chain, in the order of the table."""
    chains = dict.fromkeys(row.builder for row in table)
    chosen = [[row for row in table if row.builder == chain][:_PER_CHAIN] for chain in chains]
    return sorted((row for rows in chosen for row in rows), key=lambda row: row.index)


def _maps(folder: Path, row: ConditionRow, source: Case) -> tuple[Volume, Volume]:
    """Return the label maps of source and condition."""
    before = read_label_map(source.files[LABEL], case_id=source.case_id)
    return before, label_map_in(map_bytes(folder, row))


def _images(folder: Path, row: ConditionRow, source: Case) -> tuple[Volume, Volume]:
    """Return what the outlines of a source, and those of its condition, lie on."""
    image = _in_range(read_image(source.image, case_id=source.case_id))
    for channel in row.channels:
        path = folder / channel / f"{row.condition_id}.nii.gz"
        if not channel.endswith(("_known", "-lesion")) and path.exists():
            return image, _in_range(read_image(path, case_id=row.condition_id))
    if images_followed(row.steps):
        return image, _in_range(workshop_in(folder).follow(row))
    return image, image


def _in_range(image: Volume) -> Volume:
    """Return an image with its brightest voxels at 1, as pictures expect it."""
    bright = max(float(np.percentile(image.array, 99.9)), 1e-6)
    return Volume((image.array / bright).astype(np.float32), image.affine)


def _most_changed(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> Sequence[int]:
    """Return for each plane the slice in which most voxels differ."""
    changed = before != after
    if not changed.any():
        changed = after > 0
    counts = [changed.sum(axis=tuple(k for k in range(3) if k != plane)) for plane in range(3)]
    return [int(np.argmax(count)) for count in counts]
