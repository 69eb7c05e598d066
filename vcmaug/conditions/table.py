"""The table of conditions: parts as they are built, one Parquet file and one CSV in the end.

What it is: a row per condition, written in parts and merged without holding more than one of them.
In the flow: `build` writes parts, merges them last; generation and arms read the table.
Sources: none.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from vcmaug.conditions.base import Condition
from vcmaug.errors import WorkFolderError
from vcmaug.files import atomic_path, write_bytes

__all__ = ["merge_parts", "part_of", "read_conditions", "row_of", "write_part"]


def row_of(
    condition: Condition,
    *,
    fold: str,
    seed: int,
    row: Mapping[str, Any],
    map_sha256: str,
    channels: Mapping[str, str],
) -> dict[str, Any]:
    """Return a condition as a row of its table; lists and mappings are JSON.

    Args:
        condition: Finished.
        fold: Of all its parents.
        seed: From which all its steps drew.
        row: Its columns for scalars.
        map_sha256: Hash of the map's file.
        channels: Hash of the file of each further channel.
    """
    return {
        "condition_id": condition.condition_id,
        "builder": condition.builder,
        "source_case_ids": json.dumps(condition.source_case_ids),
        "source_subject_ids": json.dumps(condition.source_subject_ids),
        "fold": fold,
        "turn": condition.turn,
        "seed": str(seed),
        "steps": json.dumps([vars(step) for step in condition.steps]),
        "map": f"maps/{condition.condition_id}.nii.gz",
        "sha256": map_sha256,
        "channels": json.dumps(dict(channels)),
        "presence": json.dumps(dict(condition.presence)),
        **row,
    }


def part_of(folder: Path, first: int) -> Path:
    """Return the part that begins with a condition."""
    return folder / "parts" / f"{first:08d}.parquet"


def write_part(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of one part atomically."""
    table = pa.Table.from_pylist([dict(row) for row in rows])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def merge_parts(folder: Path, parts: Sequence[Path]) -> None:
    """Write conditions.parquet and conditions.csv from the parts, in their order."""
    schema = pa.unify_schemas(
        [pq.read_schema(path) for path in parts], promote_options="permissive"
    )
    tables = (_with_schema(pq.read_table(path), schema) for path in parts)
    with (
        atomic_path(folder / "conditions.csv") as csv_path,
        atomic_path(folder / "conditions.parquet") as path,
        pq.ParquetWriter(path, schema) as writer,
        pa.csv.CSVWriter(csv_path, schema) as csv_writer,
    ):
        for table in tables:
            writer.write_table(table)
            csv_writer.write_table(table)


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema; one that it lacks is empty."""
    columns = [
        table[name].cast(schema.field(name).type)
        if name in table.column_names
        else pa.nulls(table.num_rows, schema.field(name).type)
        for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def read_conditions(folder: Path) -> pd.DataFrame:
    """Return the table of conditions in a folder.

    Raises:
        WorkFolderError: There is none.
    """
    path = folder / "conditions.parquet"
    if not path.exists():
        raise WorkFolderError(
            f"reading conditions: {path} is not there. Run `vcmaug build-conditions` first."
        )
    return pd.read_parquet(path)
