"""The checks before anything is prepared: every file is read, and every fault is listed."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vcmaug.data.case import Case
from vcmaug.data.intensity import window_of
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume, is_mask, same_grid
from vcmaug.errors import DataError

__all__ = ["faults_of_case", "find_cases"]


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
    faults += [
        f"case {case_id}: the id stands {count} times"
        for case_id, count in counts.items()
        if count > 1
    ]
    return cases[: settings.max_cases]


def faults_of_case(case: Case, settings: DataSettings, *, values: Mapping[int, int]) -> list[str]:
    """Return everything that is wrong with one case.

    Args:
        case: As it lies on disk.
        settings: What to prepare.
        values: Source value -> prepared number.
    """
    faults: list[str] = []
    image = _image(case, settings, faults)
    faults += _faults_of_further(case, image, settings)
    if case.label is None:
        if settings.require_labels:
            faults.append(f"case {case.case_id}, {case.image}: an image without a label map")
        return faults
    if not settings.scheme:
        faults.append(f"case {case.case_id}, {case.label}: a label map, and no structure is named")
        return faults
    return faults + _faults_of_label(case, case.label, image, values=values)


def _image(case: Case, settings: DataSettings, faults: list[str]) -> Volume | None:
    """Return the image of a case, None if it cannot be read."""
    image = None
    try:
        image = read_image(case.image, case_id=case.case_id)
        window_of(image.array, settings.intensity)
    except DataError as fault:
        faults.append(_with_case(fault, case, case.image))
    return image


def _faults_of_label(
    case: Case, path: Path, image: Volume | None, *, values: Mapping[int, int]
) -> list[str]:
    """Return what is wrong with the label map of a case."""
    try:
        label = read_label_map(path, case_id=case.case_id)
    except DataError as fault:
        return [_with_case(fault, case, path)]
    faults = []
    unknown = sorted({int(value) for value in np.unique(label.array)} - set(values) - {0})
    if unknown:
        faults.append(
            f"case {case.case_id}, {path}: label values {unknown[:8]} outside the scheme; known "
            f"are {sorted(values)[:12]}"
        )
    if image is not None and not same_grid(image, label):
        faults.append(
            f"case {case.case_id}, {path}: shape {label.shape} and affine differ from its image's "
            f"(shape {image.shape})"
        )
    return faults


def _faults_of_further(case: Case, image: Volume | None, settings: DataSettings) -> list[str]:
    """Return what is wrong with the other images of a case."""
    faults = []
    for path in case.extra_images.values():
        try:
            further = read_image(path, case_id=case.case_id)
            if not is_mask(further):
                window_of(further.array, settings.intensity)
        except DataError as fault:
            faults.append(_with_case(fault, case, path))
            continue
        if image is not None and not same_grid(image, further):
            faults.append(
                f"case {case.case_id}, {path}: shape {further.shape} or affine differ from those "
                f"of {case.image} (shape {image.shape}); register and resample it to that one"
            )
    return faults


def _with_case(fault: DataError, case: Case, path: Path) -> str:
    """Return a fault's text, which names the case."""
    text = str(fault).rstrip(".")
    return text if text.startswith("case ") else f"case {case.case_id}, {path}: {text}"
