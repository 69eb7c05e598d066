"""A finished cohort, held against its manifest.

What it is: every fault at once: files, hashes, grids, labels.
In the flow: after generation, before anybody trusts a cohort that was copied.
Sources: none.
"""

from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import same_grid
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file
from vcmaug.progress import Progress, Report, silent

__all__ = ["check_cohort"]

_AT_ONCE = 256
_COLUMNS = (
    "request_id",
    "case_id",
    "status",
    "image",
    "label",
    "image_sha256",
    "label_sha256",
    "condition_id",
    "condition_sha256",
)


def check_cohort(folder: Path, *, report: Report = silent) -> list[str]:
    """Return every fault of a cohort as a sentence; an empty list is a sound cohort.

    Checked: no id stands twice, the card counts as many cases as the manifest has, no image or
    label map is there that the manifest does not name; per case, both files are there and have the
    manifest's hashes, share one grid and affine, and the label map has the condition's hash: it is
    the file that was asked for, byte by byte.

    Raises:
        CohortError: The cohort is not finished.
    """
    manifest = read_manifest(folder, columns=_COLUMNS)
    counted = sum(read_cohort_card(folder)["counts"].values())
    faults = [
        f"request {request_id}: stands twice in the manifest"
        for request_id in manifest["request_id"][manifest["request_id"].duplicated()]
    ]
    if counted != len(manifest):
        faults.append(f"cohort.json counts {counted} requests, the manifest has {len(manifest)}")
    done = manifest[manifest["status"] == "done"]
    faults += _foreign(folder, {*done["image"], *done["label"]})
    faults_of = partial(_faults_of, layout=CohortLayout(folder))
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(done), _AT_ONCE):  # a pool takes all that it is given at once
            rows = done.iloc[first : first + _AT_ONCE].to_dict("records")
            faults += [fault for found in pool.map(faults_of, rows) for fault in found]
            report(Progress("checking", first + len(rows), len(done)))
    return faults


def _foreign(folder: Path, known: set[str]) -> list[str]:
    """Return the images and label maps that no row names, and a manifest without its CSV."""
    layout = CohortLayout(folder)
    faults = [] if layout.manifest_csv.exists() else [f"{layout.manifest_csv}: no such file"]
    for kind in (layout.image("").parent, layout.label("").parent):
        names = sorted(path.name for path in kind.iterdir()) if kind.is_dir() else []
        foreign = [name for name in names if f"{kind.name}/{name}" not in known]
        faults += [f"{kind / name}: no row of the manifest names it" for name in foreign]
    return faults


def _faults_of(row: Mapping[Hashable, Any], *, layout: CohortLayout) -> list[str]:
    """Return the faults of one case."""
    case_id = str(row["case_id"])
    faults = []
    for kind in ("image", "label"):
        path = layout.folder / str(row[kind])
        if not path.exists():
            faults.append(f"case {case_id}, {path}: no such file")
        elif sha256_of_file(path) != row[f"{kind}_sha256"]:
            faults.append(f"case {case_id}, {path}: its hash is not the manifest's")
    if faults:
        return faults
    try:
        image = read_image(layout.folder / str(row["image"]), case_id=case_id)
        label = read_label_map(layout.folder / str(row["label"]), case_id=case_id)
    except DataError as fault:
        return [str(fault)]
    if not same_grid(image, label):
        faults.append(f"case {case_id}: image and label map differ in grid or affine")
    if row["label_sha256"] != row["condition_sha256"]:
        faults.append(f"case {case_id}: its label map is not condition {row['condition_id']}'s")
    return faults
