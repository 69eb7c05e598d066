"""`prepare`: somebody's images and label maps, checked as a whole, onto one grid.

First every file is read and every fault is listed; only a faultless set is written. It leaves
images/, labels/, cases.parquet with cases.csv beside it, and prepare.json.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vcmaug.data.case import Case
from vcmaug.data.case_table import write_table_of_cases
from vcmaug.data.cases import Cases
from vcmaug.data.intensity import window_of
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume, is_mask, same_grid
from vcmaug.data.writing import write_case
from vcmaug.errors import DataError, FaultyDataSet
from vcmaug.files import write_json
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions

__all__ = ["DataSettings", "find_cases", "prepare"]


def prepare(settings: DataSettings, out: Path, *, report: Report = silent) -> Cases:
    """Read, check, and write a data set; return its cases.

    Args:
        settings: What to read and how.
        out: Gets images/, labels/, cases.parquet, cases.csv and, last, prepare.json.
        report: Told after every case, in both passes.

    Raises:
        FaultyDataSet: Every fault of the set, each with its case and file; nothing is written.
    """
    scheme, values = settings.label_scheme(), settings.number_of_value()
    faults: list[str] = []
    found = find_cases(settings, faults)
    for number, case in enumerate(found, start=1):
        faults += _faults_of(case, settings, values=values)
        report(Progress("checking cases", number, len(found)))
    if faults:
        raise FaultyDataSet(
            f"preparing {settings.source}",
            faults,
            advice="Nothing was written. Correct or remove these cases and run again.",
        )
    cases = []
    for number, case in enumerate(found, start=1):
        cases.append(write_case(case, settings, scheme=scheme, values=values, out=out))
        report(Progress("preparing cases", number, len(found)))
    write_table_of_cases(out, cases)
    about = {
        "settings": settings.model_dump(mode="json"),
        "scheme": scheme.to_json(),
        "source_values": scheme.source_values,
        "num_cases": len(cases),
        "versions": versions(),
    }
    write_json(out / "prepare.json", about)
    return Cases.open(out)


def find_cases(settings: DataSettings, faults: list[str]) -> list[Case]:
    """Return the cases of a source; what cannot be used is added to `faults`.

    Raises:
        DataError: The source is not there, or its layout is not recognised.
    """
    source, reader = settings.path, settings.reader
    cases = reader.cases(source, faults)
    if not cases and not faults:
        faults.append(f"{source}: no case found in this {reader.name}; expected {reader.expected}")
    counts = Counter(case.case_id for case in cases)
    faults += [f"case {name}: the id stands {n} times" for name, n in counts.items() if n > 1]
    return cases[: settings.max_cases]


def _faults_of(case: Case, settings: DataSettings, *, values: Mapping[int, int]) -> list[str]:
    """Return everything that is wrong with one case; see `prepare` for the arguments."""
    faults: list[str] = []
    image = _read_image(case, case.image, settings, faults)
    for path in case.extra_images.values():
        other = _read_image(case, path, settings, faults)
        if image is not None and other is not None and not same_grid(image, other):
            faults.append(
                f"case {case.case_id}, {path}: shape {other.shape} or affine differ from those "
                f"of {case.image} (shape {image.shape}); register and resample it to that one"
            )
    if case.label is None:
        if settings.require_labels:
            faults.append(f"case {case.case_id}, {case.image}: an image without a label map")
        return faults
    about = f"case {case.case_id}, {case.label}:"
    if not settings.scheme:
        return [*faults, f"{about} a label map, and no structure is named"]
    try:
        label = read_label_map(case.label, case_id=case.case_id)
    except DataError as fault:
        return [*faults, str(fault).rstrip(".")]
    if unknown := sorted(set(np.unique(label.array).tolist()) - {0, *values}):
        faults.append(
            f"{about} label values {unknown[:8]} outside the scheme; known are "
            f"{sorted(values)[:12]}"
        )
    if image is not None and not same_grid(image, label):
        faults.append(
            f"{about} shape {label.shape} and affine differ from its image's (shape {image.shape})"
        )
    return faults


def _read_image(case: Case, path: Path, settings: DataSettings, faults: list[str]) -> Volume | None:
    """Return an image of a case, None if it cannot be read; the first must have a contrast."""
    image = None
    try:
        image = read_image(path, case_id=case.case_id)
        if path == case.image or not is_mask(image):
            window_of(image.array, settings.intensity)
    except DataError as fault:
        text = str(fault).rstrip(".")
        own = text.startswith("case ")
        faults.append(text if own else f"case {case.case_id}, {path}: {text}")
    return image
