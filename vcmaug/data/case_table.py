"""The table of prepared cases: cases.parquet, the truth about a folder, and cases.csv beside it.

Source columns, measured facts, hashes and the way back stand apart in it, as lists and structs.
`prepare` writes it, and `Cases.open` reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from vcmaug.data.case import IMAGE, LABEL, Case, Cell, Measured
from vcmaug.data.text_table import typed
from vcmaug.data.way_back import WayBack
from vcmaug.errors import FaultyDataSet, WorkFolderError
from vcmaug.files import atomic_path, write_text

__all__ = ["read_table_of_cases", "write_table_of_cases"]

_TABLE, _CSV = "cases.parquet", "cases.csv"


@dataclass(frozen=True)
class _File:
    """A file of a case."""

    name: str
    path: str
    sha256: str


@dataclass(frozen=True)
class _Volume:
    """The volume of a structure."""

    structure: str
    mm3: float


@dataclass(frozen=True)
class _Measured:
    """What was measured on a label map."""

    volumes: tuple[_Volume, ...]
    share_outside_grid: float

    @classmethod
    def of(cls, known: Measured) -> "_Measured":
        """Return it as it is stored."""
        volumes = tuple(_Volume(name, mm3) for name, mm3 in known.volumes_mm3.items())
        return cls(volumes, known.share_outside_grid)

    def measured(self) -> Measured:
        """Return it as a case has it."""
        volumes = {one.structure: one.mm3 for one in self.volumes}
        return Measured(volumes, self.share_outside_grid)


@dataclass(frozen=True)
class _Row:
    """A case as Parquet holds it, its files relative to the folder of the table."""

    case_id: str
    subject_id: str
    files: tuple[_File, ...]
    measured: _Measured | None
    way_back: WayBack | None
    source: Mapping[str, Cell] | None = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case, folder: Path) -> "_Row":
        """Return the row of a case, without its source columns."""
        files = case.files.items()
        return cls(
            case_id=case.case_id,
            subject_id=case.subject_id,
            files=tuple(_File(k, str(v.relative_to(folder)), case.hash_of(k)) for k, v in files),
            measured=None if case.measured is None else _Measured.of(case.measured),
            way_back=case.way_back,
        )

    def case(self, folder: Path) -> Case:
        """Return the case, with absolute paths, which hold on workers in other folders too."""
        paths = {file.name: folder.absolute() / file.path for file in self.files}
        return Case(
            case_id=self.case_id,
            subject_id=self.subject_id,
            label=paths.pop(LABEL, None),
            images=paths,
            source=self.source or {},
            measured=None if self.measured is None else self.measured.measured(),
            sha256={file.name: file.sha256 for file in self.files},
            way_back=self.way_back,
        )


_ROWS = TypeAdapter(tuple[_Row, ...])


def write_table_of_cases(folder: Path, cases: Sequence[Case]) -> None:
    """Write cases.csv and then cases.parquet, both atomically.

    Args:
        folder: Holds the files of the cases; the table names them relative to it.
        cases: Prepared ones.
    """
    frame = pd.DataFrame([_csv_row(folder, case) for case in cases])
    write_text(folder / _CSV, frame.to_csv(index=False))
    rows = _ROWS.dump_python(tuple(_Row.of(case, folder) for case in cases))
    for row, source in zip(rows, _sources(cases), strict=True):
        row["source"] = source or None
    table = pa.Table.from_pylist(rows)
    if pa.types.is_null(table.schema.field("source").type):  # there is no source column
        table = table.drop_columns("source")
    with atomic_path(folder / _TABLE) as path:
        pq.write_table(table, path)


def _sources(cases: Sequence[Case]) -> list[dict[str, Cell]]:
    """Return source columns with one type each; an empty cell is None."""
    names = dict.fromkeys(name for case in cases for name in case.source)
    columns = {name: typed(case.source.get(name) for case in cases) for name in names}
    return [{name: columns[name][row] for name in names} for row in range(len(cases))]


def _csv_row(folder: Path, case: Case) -> dict[str, Cell]:
    """Return a case for the table that people read."""
    ids = {"case_id": case.case_id, "subject_id": case.subject_id}
    files = {
        name if name in (IMAGE, LABEL) else f"image_{name}": str(path.relative_to(folder))
        for name, path in case.files.items()
    }
    return {**case.source, **ids, **files, **(case.measured.columns if case.measured else {})}


def read_table_of_cases(folder: Path) -> tuple[Case, ...]:
    """Return the cases of a prepared folder, in the order of its table.

    Raises:
        WorkFolderError: There is no table, or one of an older version.
        FaultyDataSet: Ids repeat, or files are not there; all at once.
    """
    path = folder / _TABLE
    if not path.exists():
        older = (folder / _CSV).exists()
        why = "it was prepared by an older version" if older else "there is no such file"
        raise WorkFolderError(
            f"reading cases, {path}: {why}. Run `vcmaug prepare SRC --out {folder}`"
            f"{' again' if older else ' first'}."
        )
    rows = _ROWS.validate_python(pq.read_table(path).to_pylist())
    cases = tuple(row.case(folder) for row in rows)
    if faults := _faults(cases):
        raise FaultyDataSet(f"reading {path}", faults, advice="Run `vcmaug prepare` again.")
    return cases


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
