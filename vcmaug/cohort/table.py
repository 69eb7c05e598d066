"""The table of a manifest: Parquet with lists, maps and structs, and a CSV beside it for people.

Rows are written as they come, so that the memory does not grow with the cohort. In the CSV nested
values are JSON.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from vcmaug.cohort.row import Drawn, ManifestRow, Run, columns_of, row_of
from vcmaug.data.steps import Step, common_type, steps_of, stored_steps, type_of_steps
from vcmaug.errors import CohortError
from vcmaug.files import atomic_path, stable_json

__all__ = ["COLUMNS", "TableWriter", "rows_in", "type_of_parameters"]

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
_KINDS: Mapping[str, Any] = {
    **{k: v for k, v in get_type_hints(ManifestRow).items() if k not in ("drawn", "run")},
    **columns_of(Drawn),
    **columns_of(Run),
}
COLUMNS = tuple(_KINDS)
"""The columns of a manifest, in order."""


def type_of_parameters(batches: Iterable[Sequence[ManifestRow]]) -> pa.DataType:
    """Return the type of the column `parameters` that holds all of some rows.

    Raises:
        CohortError: One name has values of two types.
    """
    try:
        types = [type_of_steps(stored_steps(row.parameters) for row in rows) for rows in batches]
        return common_type(types or [type_of_steps([])])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as fault:
        raise CohortError(
            f"writing a manifest: parameters have values of two types under one name ({fault}). "
            "Record each name with one type."
        ) from None


def _schema(parameters: pa.DataType) -> pa.Schema:
    """Return the schema of a manifest."""
    return pa.schema([(name, _ARROW.get(kind, parameters)) for name, kind in _KINDS.items()])


class TableWriter:
    """Rows on their way into a Parquet and a CSV file, which appear when the stack unwinds well.

    Without a row there is no file.

    Args:
        stack: Ends the writing.
        parquet: Path of the one.
        csv: Path of the other.
        parameters: Type of that column, see `type_of_parameters`.
    """

    def __init__(
        self, stack: ExitStack, *, parquet: Path, csv: Path, parameters: pa.DataType
    ) -> None:
        self._stack, self._paths = stack, (parquet, csv)
        self._schema = _schema(parameters)
        self._files: tuple[Any, Any] | None = None
        self._rows: list[ManifestRow] = []

    def add(self, row: ManifestRow) -> None:
        """Take a row, and write if there are many."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write the rest."""
        if self._rows:
            self._flush()
        if self._files is not None:
            self._files[0].close()

    def _flush(self) -> None:
        """Write what was taken."""
        parquet, texts = self._files or self._opened()
        stored = [_stored(row) for row in self._rows]
        parquet.write_table(pa.Table.from_pylist(stored, schema=self._schema))
        texts.writerows(_as_text(row) for row in self._rows)
        self._rows = []

    def _opened(self) -> tuple[Any, Any]:
        """Open both files and write the head of the CSV."""
        parquet, path = (self._stack.enter_context(atomic_path(one)) for one in self._paths)
        stream = self._stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        texts = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        texts.writeheader()
        self._files = pq.ParquetWriter(parquet, self._schema), texts
        return self._files


def _stored(row: ManifestRow) -> dict[str, Any]:
    """Return a row as Parquet takes it: steps encoded, mappings as pairs."""
    cells = row.cells() | {"parameters": stored_steps(row.parameters)}
    return {
        name: list(value.items()) if isinstance(value, Mapping) else value
        for name, value in cells.items()
    }


def _as_text(row: ManifestRow) -> dict[str, Any]:
    """Return a row for the CSV."""
    return {
        name: stable_json(value) if isinstance(value, Mapping | list | tuple) else value
        for name, value in row.cells().items()
    }


def rows_in(path: Path) -> Iterator[ManifestRow]:
    """Yield the rows of a manifest; not all are in memory at once.

    Raises:
        CohortError: An older version wrote it.
        pyarrow.ArrowInvalid: It is damaged.
    """
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            for cells in batch.to_pylist(maps_as_pydicts="strict"):
                yield row_of(cells | {"parameters": _plain(steps_of(cells["parameters"]))})


def _plain(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return steps by field."""
    return [vars(step) for step in steps]
