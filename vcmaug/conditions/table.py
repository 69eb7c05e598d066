"""The table of conditions: one row each, as a typed record and as Parquet with lists and structs.

Rows are written in parts as they are built; the parts are merged into conditions.parquet, and into
conditions.csv, where nested values are JSON for the eye.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from vcmaug.conditions.base import Cell
from vcmaug.data.steps import Step, steps_of, stored_steps, type_of_steps
from vcmaug.errors import DataError, WorkFolderError
from vcmaug.files import atomic_path, stable_json

__all__ = ["ConditionRow", "merge_parts", "part_of", "read_conditions", "read_rows", "write_rows"]

_MAPS = {
    "channels": pa.map_(pa.string(), pa.string()),
    "presence": pa.map_(pa.string(), pa.bool_()),
    "scalars_clipped": pa.map_(pa.string(), pa.float64()),
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
    columns: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, str]:
        """Hash of each of its files, the label map first, by the file's place in the folder."""
        others = {f"{name}/{self.condition_id}.nii.gz": sha for name, sha in self.channels.items()}
        return {self.map: self.sha256, **others}

    def cells(self) -> dict[str, object]:
        """Return the row by column; nested values stay nested."""
        own: dict[str, object] = {name: getattr(self, name) for name in _OWN}
        return {
            **own,
            "seed": str(self.seed),  # an unsigned number of 64 bits
            "steps": [asdict(step) for step in self.steps],
            **self.columns,
        }


_OWN = tuple(one.name for one in fields(ConditionRow) if one.name != "columns")
_ROW = TypeAdapter(ConditionRow)


def part_of(folder: Path, first: int) -> Path:
    """Return the part that begins with a condition."""
    return folder / "parts" / f"{first:08d}.parquet"


def write_rows(path: Path, rows: Sequence[ConditionRow]) -> None:
    """Write rows atomically: known columns with their types, the others with their own.

    Raises:
        DataError: A builder recorded what no table can hold.
    """
    cells = [row.cells() for row in rows]
    names = dict.fromkeys(name for one in cells for name in one)  # in the order they come in
    columns: dict[str, list[Any]] = {name: [one.get(name) for one in cells] for name in names}
    columns["steps"] = [stored_steps(row.steps) for row in rows]  # by the name of its builder
    for name in _MAPS:
        columns[name] = [list(getattr(row, name).items()) for row in rows]
    try:
        types = {**_MAPS, "steps": type_of_steps(row.steps for row in rows)}
        table = pa.table(
            {name: pa.array(values, types.get(name)) for name, values in columns.items()}
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as fault:
        raise DataError(
            f"writing conditions {rows[0].condition_id} to {rows[-1].condition_id}: a builder "
            f"recorded values of two types under one name ({fault}). Record numbers, words, lists "
            "and mappings, each name with one type."
        ) from None
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def merge_parts(folder: Path, parts: Sequence[Path]) -> None:
    """Write conditions.csv, then conditions.parquet, from the parts in their order."""
    rows = [row for part in parts for row in read_rows(part)]
    texts = [{name: _as_text(cell) for name, cell in row.cells().items()} for row in rows]
    with atomic_path(folder / "conditions.csv") as path:
        pd.DataFrame(texts, dtype=object).to_csv(path, index=False)
    write_rows(folder / "conditions.parquet", rows)


def _as_text(value: object) -> object:
    """Return a value for a CSV file."""
    return stable_json(value) if isinstance(value, Mapping | list | tuple) else value


def read_rows(path: Path) -> tuple[ConditionRow, ...]:
    """Return the rows of one Parquet file."""
    rows = []
    for cells in pq.read_table(path).to_pylist(maps_as_pydicts="strict"):
        own = {name: cells.pop(name) for name in _OWN}
        own["steps"] = steps_of(own["steps"])
        rows.append(_ROW.validate_python({**own, "columns": cells}))
    return tuple(rows)


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
    if missing := sorted(set(_OWN) - set(pq.read_schema(path).names)):
        raise WorkFolderError(
            f"reading conditions: {path} was made by an older version; it lacks "
            f"{', '.join(missing)}. Move {folder} away and run `vcmaug build-conditions` again."
        )
    return read_rows(path)
