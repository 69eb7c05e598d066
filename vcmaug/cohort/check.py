"""A finished cohort, held against its manifest: every fault of files, hashes, grids and labels.

This is the one place that hashes the files of a cohort; all others take the manifest's word.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cores import allowed_cores
from vcmaug.data.case import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import other_grid
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file
from vcmaug.progress import Progress, Report, silent

__all__ = ["check_cohort"]


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
    with ThreadPoolExecutor(allowed_cores()) as pool:
        found = pool.map(partial(_faults_of, cohort=cohort), cohort)
        for number, its in enumerate(found, start=1):
            faults += its
            report(Progress("checking", number, len(cohort)))
    return faults


def _miscounted(cohort: Cohort) -> list[str]:
    """Return the ids that stand twice, and whether card and manifest count otherwise."""
    counts = Counter(row.request_id for row in cohort.rows)
    faults = [f"request {k}: stands twice in the manifest" for k, n in counts.items() if n > 1]
    counted = sum(cohort.card.counts.values())
    if counted != counts.total():
        faults.append(f"cohort.json counts {counted} requests, the manifest has {counts.total()}")
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


def _faults_of(case: Case, cohort: Cohort) -> list[str]:
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
    if differs := other_grid(label, than=image):
        faults.append(
            f"case {case.case_id}: image and label map differ in grid or affine: {differs}"
        )
    row = cohort.row_of(case)
    if row.label_sha256 != row.condition_sha256:
        faults.append(f"case {case.case_id}: its label map is not condition {row.condition_id}'s")
    return faults
