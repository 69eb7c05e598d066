"""The merge of a manifest's parts, shard by shard, in memory that does not grow with the cohort.

What it is: Parquet and CSV written as they are read, and what a card says of them.
In the flow: last step of a generation.
Sources: Apache Arrow's Parquet writer.

Notes:
    Parts are JSON lines, since a line can be added and fsynced after each micro-batch and a killed
    writer can cut the last one only; a Parquet file is whole at its end or not at all.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow
from vcmaug.errors import CohortError
from vcmaug.files import atomic_path, read_json_lines

__all__ = ["BEGUN", "REDRAWN", "Merged", "merge_parts"]

REDRAWN = "redrawn"
"""Status of a draw that was not accepted and drawn again; such rows are kept apart."""

BEGUN = "begun"
"""Status of a line that says that a worker began to draw a shard; it is no row."""

_ROWS_AT_ONCE = 2048
_TYPES: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_SCHEMA = pa.schema([(one.name, _TYPES[one.type]) for one in fields(ManifestRow)])


@dataclass
class Merged:
    """What was merged.

    Attributes:
        counts: Requests by status.
        redrawn: Draws that were not accepted and drawn again.
        restarts: How often a shard was begun again, as after a worker had died.
        subjects: Ids of all subjects that conditions came from.
        seconds: Sums over all requests, by phase.
        reason: Why the first that was not drawn was not.
    """

    counts: Counter[str] = field(default_factory=Counter)
    redrawn: int = 0
    restarts: int = 0
    subjects: set[str] = field(default_factory=set)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    reason: str = ""

    def add(self, row: dict[str, Any]) -> None:
        """Count a row of the manifest."""
        self.counts[row["status"]] += 1
        self.subjects.update(json.loads(row["source_subject_ids"] or "[]"))
        self.reason = self.reason or row["reason"]
        for phase, seconds in json.loads(row["phases"] or "{}").items():
            self.seconds[phase] += seconds


def merge_parts(layout: CohortLayout, shards: Iterable[Sequence[str]]) -> Merged:
    """Write manifest and rejects, as Parquet and CSV, and return what is in them.

    Of two rows of a request in a part the later one counts.

    Args:
        layout: Of the cohort.
        shards: Per shard, in order, the ids of its requests.

    Raises:
        CohortError: Rows are missing; nothing is written.
    """
    merged = Merged()
    missing: list[str] = []
    with ExitStack() as stack:
        manifest = _Table(stack, layout.manifest, layout.manifest_csv)
        rejects = _Table(stack, layout.rejects, layout.rejects_csv)
        for shard, request_ids in enumerate(shards):
            rows, redrawn, begun = _rows_of(layout.part(shard))
            merged.restarts += max(0, begun - 1)
            missing += [name for name in request_ids if name not in rows]
            for name in request_ids:
                if name in rows:
                    merged.add(rows[name])
                    manifest.add(rows[name])
            for row in redrawn:
                merged.redrawn += 1
                rejects.add(row)
        manifest.close()
        rejects.close()
        if missing:
            raise CohortError(
                f"merging the manifest of {layout.folder}: {len(missing)} of "
                f"{len(missing) + merged.counts.total()} requests have no row yet, {missing[0]} "
                "first. Run the same `vcmaug generate` again."
            )
    return merged


def _rows_of(part: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], int]:
    """Return the rows of a part by request, those of redrawn draws, and how often it was begun."""
    rows: dict[str, dict[str, Any]] = {}
    redrawn: dict[tuple[str, int], dict[str, Any]] = {}
    begun = 0
    for row in read_json_lines(part):
        if row["status"] == BEGUN:
            begun += 1
        elif row["status"] == REDRAWN:
            redrawn[row["request_id"], row["tries"]] = row
        else:
            rows[row["request_id"]] = row
    return rows, list(redrawn.values()), begun


class _Table:
    """Rows on their way into a Parquet and a CSV file, which appear when the stack unwinds well.

    Without a row there is no file.
    """

    def __init__(self, stack: ExitStack, parquet: Path, csv: Path) -> None:
        self._stack, self._paths = stack, (parquet, csv)
        self._files: tuple[Any, Path] | None = None
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
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
        first = self._files is None
        if self._files is None:
            parquet, csv = (self._stack.enter_context(atomic_path(path)) for path in self._paths)
            self._files = pq.ParquetWriter(parquet, _SCHEMA), csv
        table = pa.Table.from_pylist(self._rows, schema=_SCHEMA)
        self._files[0].write_table(table)
        table.to_pandas().to_csv(self._files[1], mode="a", header=first, index=False)
        self._rows = []
