"""The case table: one row per case, the truth about what is in a prepared folder.

What it is: `cases.csv` and the records made from it.
In the flow: written by `prepare`, read by every floor above.
Sources: none; the columns are case_id, subject_id, image, image_<name>..., label, age, sex,
volume_<structure>_mm3, label_share_outside_grid, and whatever the source's own table held.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.errors import FaultyDataSet, WorkFolderError
from vcmaug.files import sha256_of_file

__all__ = ["Case", "cases_of", "hashes_of_files", "read_cases"]

TABLE = "cases.csv"
_REQUIRED = ("case_id", "subject_id", "image")


@dataclass(frozen=True)
class Case:
    """One case of a prepared folder.

    Attributes:
        case_id: Unique in the folder.
        subject_id: The person; several cases may share it.
        image: Path of the image that networks read.
        label: Path of the label map, or None.
        extra_images: Further images of the case, by name.
        row: Every column of the table.
    """

    case_id: str
    subject_id: str
    image: Path
    label: Path | None = None
    extra_images: Mapping[str, Path] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)


def read_cases(folder: Path) -> tuple[Case, ...]:
    """Return the cases of a prepared folder, in the order of its table.

    Raises:
        WorkFolderError: There is no table.
        FaultyDataSet: Columns are missing, ids repeat, or files are not there; all at once.
    """
    path = folder / TABLE
    if not path.exists():
        raise WorkFolderError(
            f"reading cases: {path} is not there. Run `vcmaug prepare SRC --out {folder}` first."
        )
    table = pd.read_csv(path, dtype={"case_id": str, "subject_id": str})
    missing = [column for column in _REQUIRED if column not in table]
    if missing:
        raise FaultyDataSet(f"reading {path}", [f"no column {name!r}" for name in missing])
    rows = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    cases = tuple(_case(row, folder) for row in rows)
    faults = _faults(cases)
    if faults:
        raise FaultyDataSet(f"reading {path}", faults, advice="Run `vcmaug prepare` again.")
    return cases


def _case(row: Mapping[str, Any], folder: Path) -> Case:
    """Return one row as a case with absolute paths."""
    extra = {
        name.removeprefix("image_"): folder / str(value)
        for name, value in row.items()
        if name.startswith("image_") and isinstance(value, str)
    }
    label = row.get("label")
    return Case(
        case_id=str(row["case_id"]),
        subject_id=str(row["subject_id"]),
        image=folder / str(row["image"]),
        label=folder / label if isinstance(label, str) and label else None,
        extra_images=extra,
        row=dict(row),
    )


def _faults(cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with cases: repeated ids and missing files."""
    faults = []
    seen: set[str] = set()
    for case in cases:
        if case.case_id in seen:
            faults.append(f"case {case.case_id}: the id stands twice")
        seen.add(case.case_id)
        files = [case.image, *([case.label] if case.label else []), *case.extra_images.values()]
        faults += [
            f"case {case.case_id}, {path}: no such file" for path in files if not path.exists()
        ]
    return faults


def cases_of(cases: Iterable[Case], subjects: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases of some subjects, in the order of the cases."""
    wanted = set(subjects)
    return tuple(case for case in cases if case.subject_id in wanted)


def hashes_of_files(cases: Iterable[Case]) -> list[dict[str, str]]:
    """Return, of each case, its id and the SHA-256 of its image, label map and further images."""
    return [
        {
            "case_id": case.case_id,
            "image": sha256_of_file(case.image),
            "label": sha256_of_file(case.label) if case.label else "",
            **{f"image_{name}": sha256_of_file(path) for name, path in case.extra_images.items()},
        }
        for case in cases
    ]
