"""The table of prepared cases: cases.parquet, the truth about a folder, and cases.csv beside it.

Source columns, measured facts, hashes and the way back stand apart in it, as lists and structs.
`prepare` writes it, and `Cases.open` reads it.
"""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vcmaug.data.case import LABEL, Case, Measured, WayBack
from vcmaug.errors import FaultyDataSet, WorkFolderError
from vcmaug.files import atomic_path, write_text
from vcmaug.shapes import as_shape3

__all__ = ["TABLE", "csv_frame", "read_table_of_cases", "write_table_of_cases"]

TABLE = "cases.parquet"
_CSV = "cases.csv"


def write_table_of_cases(folder: Path, cases: Sequence[Case]) -> None:
    """Write cases.csv and then cases.parquet, both atomically.

    Args:
        folder: Holds the files of the cases; the table names them relative to it.
        cases: Prepared ones.
    """
    write_text(folder / _CSV, csv_frame(folder, cases).to_csv(index=False))
    sources = _as_csv_reads_them([case.source for case in cases])
    rows = [_row(folder, case) for case in cases]
    for row, source in zip(rows, sources, strict=True):
        row |= {"source": source} if source else {}  # Parquet has no struct without fields
    with atomic_path(folder / TABLE) as path:
        pq.write_table(pa.Table.from_pylist(rows), path)


def _as_csv_reads_them(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with one type per column, as they come back from a CSV; an empty cell is None."""
    frame = pd.DataFrame([dict(row) for row in rows])
    if not len(frame.columns):
        return [{} for _ in rows]
    frame = pd.read_csv(StringIO(frame.to_csv(index=False)))
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def csv_frame(folder: Path, cases: Sequence[Case]) -> pd.DataFrame:
    """Return the table that people read: one row per case, one column per fact.

    Args:
        folder: Files are named relative to it.
        cases: Prepared ones.
    """
    return pd.DataFrame([_csv_row(folder, case) for case in cases])


def _csv_row(folder: Path, case: Case) -> dict[str, Any]:
    """Return one row of that table."""
    names = {name: str(path.relative_to(folder)) for name, path in case.images.items()}
    first, *further = names.items()
    files = dict([first, *((f"image_{name}", path) for name, path in further)])
    if case.label is not None:
        files |= {LABEL: str(case.label.relative_to(folder))}
    ids = {"case_id": case.case_id, "subject_id": case.subject_id}
    measured = case.measured.columns if case.measured else {}
    return {**case.source, **ids, **files, **measured}


def _row(folder: Path, case: Case) -> dict[str, Any]:
    """Return one case as Parquet holds it, but for its source columns."""
    return {
        "case_id": case.case_id,
        "subject_id": case.subject_id,
        "files": [
            {"name": name, "path": str(path.relative_to(folder)), "sha256": case.hash_of(name)}
            for name, path in case.files.items()
        ],
        "measured": _measured(case.measured),
        "way_back": _way_back(case.way_back),
    }


def _measured(measured: Measured | None) -> dict[str, Any] | None:
    """Return measured facts as Parquet holds them."""
    if measured is None:
        return None
    volumes = [{"structure": k, "mm3": v} for k, v in measured.volumes_mm3.items()]
    return {"volumes": volumes, "share_outside_grid": measured.share_outside_grid}


def _way_back(way_back: WayBack | None) -> dict[str, Any] | None:
    """Return a way back as Parquet holds it."""
    if way_back is None:
        return None
    windows = way_back.windows.items()
    return {
        "affine": [list(row) for row in way_back.rows],
        "shape": list(way_back.shape),
        "orientation": way_back.orientation,
        "resampled_shape": list(way_back.resampled_shape),
        "start": list(way_back.start),
        "windows": [{"name": name, "low": low, "high": high} for name, (low, high) in windows],
    }


def read_table_of_cases(folder: Path) -> tuple[Case, ...]:
    """Return the cases of a prepared folder, in the order of its table.

    Raises:
        WorkFolderError: There is no table, or one of an older version.
        FaultyDataSet: Ids repeat, or files are not there; all at once.
    """
    path = folder / TABLE
    if not path.exists():
        older = (folder / _CSV).exists()
        why = "it was prepared by an older version" if older else "there is no such file"
        raise WorkFolderError(
            f"reading cases, {path}: {why}. Run `vcmaug prepare SRC --out {folder}`"
            f"{' again' if older else ' first'}."
        )
    cases = tuple(_case(row, folder) for row in pq.read_table(path).to_pylist())
    if faults := _faults(cases):
        raise FaultyDataSet(f"reading {path}", faults, advice="Run `vcmaug prepare` again.")
    return cases


def _case(row: Mapping[str, Any], folder: Path) -> Case:
    """Return one row as a case with absolute paths."""
    files = {file["name"]: folder / file["path"] for file in row["files"]}
    label = files.pop(LABEL, None)
    return Case(
        case_id=row["case_id"],
        subject_id=row["subject_id"],
        images=files,
        label=label,
        source=row.get("source") or {},
        measured=_measured_of(row["measured"]),
        sha256={file["name"]: file["sha256"] for file in row["files"]},
        way_back=_way_back_of(row["way_back"]),
    )


def _measured_of(content: Mapping[str, Any] | None) -> Measured | None:
    """Return measured facts as they stand in the table."""
    if content is None:
        return None
    volumes = {one["structure"]: one["mm3"] for one in content["volumes"]}
    return Measured(volumes, content["share_outside_grid"])


def _way_back_of(content: Mapping[str, Any] | None) -> WayBack | None:
    """Return a way back as it stands in the table."""
    if content is None:
        return None
    return WayBack(
        rows=tuple(map(tuple, content["affine"])),
        shape=as_shape3(content["shape"]),
        orientation=content["orientation"],
        resampled_shape=as_shape3(content["resampled_shape"]),
        start=as_shape3(content["start"]),
        windows={one["name"]: (one["low"], one["high"]) for one in content["windows"]},
    )


def _faults(cases: Sequence[Case]) -> list[str]:
    """Return what is wrong with cases: repeated ids and missing files."""
    faults = []
    seen: set[str] = set()
    for case in cases:
        if case.case_id in seen:
            faults.append(f"case {case.case_id}: the id appears twice")
        seen.add(case.case_id)
        faults += [
            f"case {case.case_id}, {path}: no such file"
            for path in case.files.values()
            if not path.exists()
        ]
    return faults
