"""A finished cohort, held against its manifest: every fault of files, hashes, grids and labels.

This is the one place that hashes the files of a cohort; all others take the manifest's word.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import iterate_rows, read_manifest
from vcmaug.cohort.row import ManifestRow
from vcmaug.data.case import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import same_grid
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file
from vcmaug.progress import Progress, Report, silent

__all__ = ["check_cohort"]

_AT_ONCE = 256


def check_cohort(folder: Path, *, report: Report = silent) -> list[str]:
    """Return every fault of a cohort as a sentence; an empty list is a sound cohort.

    Checked: no id stands twice, the card counts as many cases as the manifest has, no image or
    label map is there that the manifest does not name; per case, both files are there and have the
    manifest's hashes, share one grid and affine, and the label map has the condition's hash: it is
    the file that was asked for, byte by byte.

    Raises:
        CohortError: The cohort is not finished, or an older version made it.
    """
    cohort = Cohort.open(folder)
    faults = [*_miscounted(cohort), *_foreign(cohort)]
    done = (row for row in iterate_rows(folder) if row.is_done)
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(cohort), _AT_ONCE):  # a pool takes all that it is given at once
            cases = cohort.cases[first : first + _AT_ONCE]
            rows = islice(done, len(cases))
            faults += [fault for found in pool.map(_faults_of, cases, rows) for fault in found]
            report(Progress("checking", first + len(cases), len(cohort)))
    return faults


def _miscounted(cohort: Cohort) -> list[str]:
    """Return the ids that stand twice, and whether card and manifest count otherwise."""
    ids = read_manifest(cohort.folder, columns=["request_id"])["request_id"]
    faults = [f"request {name}: stands twice in the manifest" for name in ids[ids.duplicated()]]
    counted = sum(cohort.card.counts.values())
    if counted != len(ids):
        faults.append(f"cohort.json counts {counted} requests, the manifest has {len(ids)}")
    return faults


def _foreign(cohort: Cohort) -> list[str]:
    """Return the images and label maps that no row names, and a manifest without its CSV."""
    layout = CohortLayout(cohort.folder)
    known = {path for case in cohort for path in case.files.values()}
    faults = [] if layout.manifest_csv.exists() else [f"{layout.manifest_csv}: no such file"]
    for place in (layout.image("").parent, layout.label("").parent):
        there = sorted(place.iterdir()) if place.is_dir() else []
        foreign = [path for path in there if path not in known]
        faults += [f"{path}: no row of the manifest names it" for path in foreign]
    return faults


def _faults_of(case: Case, row: ManifestRow) -> list[str]:
    """Return the faults of one case."""
    faults = []
    for name, path in case.files.items():
        if not path.exists():
            faults.append(f"case {case.case_id}, {path}: no such file")
        elif sha256_of_file(path) != case.sha256[name]:
            faults.append(f"case {case.case_id}, {path}: its hash is not the manifest's")
    if faults or case.label is None:
        return faults
    try:
        image = read_image(case.image, case_id=case.case_id)
        label = read_label_map(case.label, case_id=case.case_id)
    except DataError as fault:
        return [str(fault)]
    if not same_grid(image, label):
        faults.append(f"case {case.case_id}: image and label map differ in grid or affine")
    if row.label_sha256 != row.condition_sha256:
        faults.append(f"case {case.case_id}: its label map is not condition {row.condition_id}'s")
    return faults
