"""The table of conditions: one row each, as a typed record and as Parquet with lists and structs.

Rows are written in parts as they are built; the parts are merged into conditions.parquet, and into
conditions.csv, where nested values are JSON for the eye.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vcmaug.data.steps import Step, steps_of, stored_steps, type_of_steps
from vcmaug.errors import DataError, WorkFolderError
from vcmaug.files import atomic_path, stable_json, write_bytes

__all__ = ["ConditionRow", "merge_parts", "part_of", "read_conditions", "read_part", "write_part"]

_TEXTS = pa.list_(pa.string())
_NUMBERS = pa.map_(pa.string(), pa.float64())
_TYPES = {
    "index": pa.int64(),
    "source_case_ids": _TEXTS,
    "source_subject_ids": _TEXTS,
    "turn": pa.int64(),
    "channels": pa.map_(pa.string(), pa.string()),
    "presence": pa.map_(pa.string(), pa.bool_()),
    "scalars_clipped": _NUMBERS,
}


@dataclass(frozen=True)
class ConditionRow:
    """One condition as its table holds it.

    Attributes:
        index: Of the condition; with the spec of its folder it makes the condition again.
        condition_id: Unique in the table.
        builder: Names of the builders, such as "shape_model+lesions".
        source_case_ids: Every case that went into it, the host first.
        source_subject_ids: Their subjects.
        role: Of all its parents: train, validation or test; empty where none is of the study.
        turn: How often its source had been used before.
        seed: From which all its steps drew.
        steps: What the builders did.
        map: File of the label map, in the folder.
        sha256: Of that file.
        channels: Hash of the file of each other channel, by its folder.
        presence: Which channels a control is shown; empty: the label map alone.
        scalars_clipped: Raw values of the scalars that lay beyond the prior's range.
        columns: Volumes, scalars, and columns of the source.
    """

    index: int
    condition_id: str
    builder: str
    source_case_ids: tuple[str, ...]
    source_subject_ids: tuple[str, ...]
    role: str
    turn: int
    seed: int
    steps: tuple[Step, ...]
    map: str
    sha256: str
    channels: Mapping[str, str] = field(default_factory=dict)
    presence: Mapping[str, bool] = field(default_factory=dict)
    scalars_clipped: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)

    def cells(self) -> dict[str, Any]:
        """Return the row by column; nested values stay nested."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "columns"}
        own["seed"] = str(self.seed)  # an unsigned number of 64 bits
        own["steps"] = [asdict(step) for step in self.steps]
        return own | dict(self.columns)


_OWN = {one.name for one in fields(ConditionRow)} - {"columns"}


def part_of(folder: Path, first: int) -> Path:
    """Return the part that begins with a condition."""
    return folder / "parts" / f"{first:08d}.parquet"


def write_part(path: Path, rows: Sequence[ConditionRow]) -> None:
    """Write the rows of one part atomically.

    Raises:
        DataError: A builder recorded what no table can hold.
    """
    try:
        table = _table_of([_stored(row) for row in rows])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as fault:
        raise DataError(
            f"writing conditions {rows[0].condition_id} to {rows[-1].condition_id}: a builder "
            f"recorded values of two types under one name ({fault}). Record numbers, words, lists "
            "and mappings, each name with one type."
        ) from None
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def _stored(row: ConditionRow) -> dict[str, Any]:
    """Return a row as Parquet holds it: the parameters of a step under the name of its builder."""
    cells = row.cells()
    cells["steps"] = stored_steps(row.steps)
    for name in ("channels", "presence", "scalars_clipped"):
        cells[name] = list(cells[name].items())
    return cells


def _table_of(cells: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table: known columns with their types, the others with their own."""
    names = list(dict.fromkeys(name for row in cells for name in row))
    types = {**_TYPES, "steps": type_of_steps(row["steps"] for row in cells)}
    columns = {
        name: pa.array([row.get(name) for row in cells], type=types.get(name)) for name in names
    }
    return pa.table(columns)


def merge_parts(folder: Path, parts: Sequence[Path]) -> None:
    """Write conditions.parquet and conditions.csv from the parts, in their order."""
    schema = pa.unify_schemas(
        [pq.read_schema(path) for path in parts], promote_options="permissive"
    )
    with (
        atomic_path(folder / "conditions.csv") as csv_path,
        atomic_path(folder / "conditions.parquet") as path,
        pq.ParquetWriter(path, schema) as writer,
        csv_path.open("w", encoding="utf-8", newline="") as stream,
    ):
        texts = csv.DictWriter(stream, schema.names, lineterminator="\n")
        texts.writeheader()
        for part in parts:
            rows = pq.read_table(part).to_pylist(maps_as_pydicts="strict")
            writer.write_table(pa.Table.from_pylist(list(map(_as_pairs, rows)), schema=schema))
            texts.writerows(_as_text(_row_of(row)) for row in rows)


def _as_pairs(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row that was read as it is written: mappings of the table as pairs."""
    steps = [step | {"checks": list(step["checks"].items())} for step in cells["steps"]]
    pairs = {
        name: list(cells[name].items()) for name in ("channels", "presence", "scalars_clipped")
    }
    return {**cells, "steps": steps, **pairs}


def _as_text(row: ConditionRow) -> dict[str, Any]:
    """Return a row for a CSV file."""
    return {
        name: stable_json(value) if isinstance(value, Mapping | list | tuple) else value
        for name, value in row.cells().items()
    }


def read_part(path: Path) -> tuple[ConditionRow, ...]:
    """Return the rows of one Parquet file."""
    return tuple(_rows_in(path))


def _rows_in(path: Path) -> Iterator[ConditionRow]:
    """Yield the rows of a file."""
    for cells in pq.read_table(path).to_pylist(maps_as_pydicts="strict"):
        yield _row_of(cells)


def _row_of(cells: Mapping[str, Any]) -> ConditionRow:
    """Return a row that was read from Parquet."""
    own = {name: cells[name] for name in _OWN}
    own["source_case_ids"] = tuple(own["source_case_ids"])
    own["source_subject_ids"] = tuple(own["source_subject_ids"])
    own["seed"] = int(own["seed"])
    own["steps"] = steps_of(own["steps"])
    columns = {name: value for name, value in cells.items() if name not in _OWN}
    return ConditionRow(**own, columns=columns)


def read_conditions(folder: Path) -> tuple[ConditionRow, ...]:
    """Return the table of conditions in a folder.

    Raises:
        WorkFolderError: There is none, or an older version wrote it.
    """
    path = folder / "conditions.parquet"
    if not path.exists():
        raise WorkFolderError(
            f"reading conditions: {path} is not there. Run `vcmaug build-conditions` first."
        )
    if missing := sorted(_OWN - set(pq.read_schema(path).names)):
        raise WorkFolderError(
            f"reading conditions: {path} was made by an older version; it lacks "
            f"{', '.join(missing)}. Move {folder} away and run `vcmaug build-conditions` again."
        )
    return read_part(path)
