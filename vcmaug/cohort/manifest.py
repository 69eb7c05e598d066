"""The manifest of a cohort: one row per request, with everything that its case came from.

manifest.parquet, with lists, maps and structs, is the truth; manifest.csv beside it is for people,
its nested values are JSON. Rows are written and read as they come, not all are in memory at once.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.row import ADDED, COLUMNS, DONE, ManifestRow, row_of
from vcmaug.data.steps import common_type, steps_of, stored_steps, type_of_steps
from vcmaug.errors import CohortError
from vcmaug.files import atomic_path, stable_json

__all__ = ["finished", "read_manifest", "read_rows", "type_of_parameters", "write_rows"]

_ROWS_AT_ONCE = 2048
_ARROW: Mapping[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
    Mapping[str, float]: pa.map_(pa.string(), pa.float64()),
    Mapping[str, float | None]: pa.map_(pa.string(), pa.float64()),
    Mapping[str, str]: pa.map_(pa.string(), pa.string()),
}


def type_of_parameters(batches: Iterable[Sequence[ManifestRow]]) -> pa.DataType:
    """Return the type of the column `parameters` that holds all of some rows.

    Raises:
        CohortError: One name has values of two types.
    """
    try:
        types = [type_of_steps(row.parameters for row in rows) for rows in batches]
        return common_type(types or [type_of_steps([])])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as fault:
        raise CohortError(
            f"writing a manifest: parameters have values of two types under one name ({fault}). "
            "Record each name with one type."
        ) from None


def write_rows(
    paths: tuple[Path, Path], rows: Iterable[ManifestRow], *, parameters: pa.DataType
) -> None:
    """Write rows as Parquet and CSV, both atomically; without a row there is no file.

    Args:
        paths: Of the Parquet and the CSV file.
        rows: As they come.
        parameters: Type of that column, see `type_of_parameters`.
    """
    coming = iter(rows)
    batch = list(islice(coming, _ROWS_AT_ONCE))
    if not batch:
        return
    schema = pa.schema([(name, _ARROW.get(kind, parameters)) for name, kind in COLUMNS.items()])
    with (
        atomic_path(paths[0]) as table_path,
        atomic_path(paths[1]) as text_path,
        pq.ParquetWriter(table_path, schema) as table,
        text_path.open("w", encoding="utf-8", newline="") as stream,
    ):
        texts = csv.DictWriter(stream, list(COLUMNS), lineterminator="\n")
        texts.writeheader()
        while batch:
            table.write_table(pa.Table.from_pylist(list(map(_stored, batch)), schema=schema))
            texts.writerows(map(_as_text, batch))
            batch = list(islice(coming, _ROWS_AT_ONCE))


def _stored(row: ManifestRow) -> dict[str, object]:
    """Return a row as Parquet takes it: steps encoded, mappings as pairs."""
    pairs = {k: list(v.items()) if isinstance(v, dict) else v for k, v in row.cells().items()}
    return {**pairs, "parameters": stored_steps(row.parameters)}


def _as_text(row: ManifestRow) -> dict[str, JsonValue]:
    """Return a row for the CSV."""
    return {
        name: stable_json(value) if isinstance(value, dict | list | tuple) else value
        for name, value in row.cells().items()
    }


@contextmanager
def _opened(folder: Path) -> Iterator[pq.ParquetFile]:
    """Yield the manifest of a cohort, and say of one that cannot be read what to do."""
    path = CohortLayout(folder).manifest
    if not path.exists():
        raise CohortError(
            f"reading cohort {folder}: there is no manifest.parquet, so it is not finished. Run "
            "the same `vcmaug generate` again; it draws what is missing."
        )
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            known = set(COLUMNS) - set(ADDED) <= set(schema.names)
            if not known or not pa.types.is_list(schema.field("source_case_ids").type):
                raise CohortError(
                    f"reading {path}: it was made by an older version. Move the cohort's folder "
                    "away and make the cohort again."
                )
            yield file
    except (pa.ArrowInvalid, OSError) as fault:
        raise CohortError(
            f"reading cohort {folder}: manifest.parquet is damaged ({fault}). Remove it and run "
            "the same `vcmaug generate` again; it will be merged again from its parts."
        ) from None


def read_manifest(folder: Path) -> pd.DataFrame:
    """Return the manifest of a finished cohort; maps are dictionaries.

    Raises:
        CohortError: The cohort is not finished, or its manifest is damaged or of an older version.
    """
    with _opened(folder) as file:
        frame: pd.DataFrame = file.read().to_pandas(maps_as_pydicts="strict")
    return frame.assign(**{name: was for name, was in ADDED.items() if name not in frame})


def read_rows(folder: Path) -> Iterator[ManifestRow]:
    """Yield the rows of the manifest of a finished cohort.

    Raises:
        CohortError: As for `read_manifest`.
    """
    with _opened(folder) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            for cells in batch.to_pylist(maps_as_pydicts="strict"):
                yield row_of({**cells, "parameters": steps_of(cells["parameters"])})


def finished(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the cases that are there."""
    return manifest[manifest["status"] == DONE]
