"""A finished cohort, held against its manifest.

What it is: every fault at once: files, hashes, grids, labels.
In the flow: after generation, before anybody trusts a cohort that was copied.
Sources: none.
"""

from pathlib import Path
from typing import Any

import numpy as np

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_cohort_card, read_manifest
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import same_grid
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file

__all__ = ["check_cohort"]


def check_cohort(folder: Path) -> list[str]:
    """Return every fault of a cohort as a sentence; an empty list is a sound cohort.

    Checked per case: both files are there and have the manifest's hashes, share one grid and
    affine, and the label map is the condition's, voxel by voxel, where the conditions are at hand.

    Raises:
        CohortError: The cohort is not finished.
    """
    manifest = read_manifest(folder)
    conditions = Path(str(read_cohort_card(folder).get("conditions_folder", "")))
    faults: list[str] = []
    for row in manifest[manifest["status"] == "done"].to_dict("records"):
        named = {str(name): value for name, value in row.items()}
        faults += _faults_of(named, CohortLayout(folder), conditions)
    return faults


def _faults_of(row: dict[str, Any], layout: CohortLayout, conditions: Path) -> list[str]:
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
    asked_path = conditions / "maps" / f"{row['condition_id']}.nii.gz"
    if asked_path.exists():
        asked = read_label_map(asked_path, case_id=str(row["condition_id"]))
        if not np.array_equal(asked.array, label.array):
            faults.append(f"case {case_id}: its label map is not condition {row['condition_id']}'s")
    return faults
