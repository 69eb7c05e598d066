"""The merge of a manifest's parts, shard by shard, in memory that does not grow with the cohort.

Parts are read for the types of what builders recorded, and again for each table that is written.

Notes:
    Parts are JSON lines, since a line can be added and fsynced after each micro-batch and a killed
    writer can cut the last one only; a Parquet file is whole at its end or not at all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import type_of_parameters, write_rows
from vcmaug.cohort.row import ManifestRow, row_of
from vcmaug.errors import CohortError
from vcmaug.files import read_json_lines

__all__ = ["BEGUN", "REDRAWN", "Merged", "merge_parts", "rows_of_part"]

REDRAWN = "redrawn"
"""Status of a draw that was not accepted and drawn again; such rows are kept apart."""

BEGUN = "begun"
"""Status of a line that says that a worker began to draw a shard; it is no row."""


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
        missing: Requests without a row.
    """

    counts: Counter[str] = field(default_factory=Counter)
    redrawn: int = 0
    restarts: int = 0
    subjects: set[str] = field(default_factory=set)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    reason: str = ""
    missing: list[str] = field(default_factory=list)

    def add(self, part: "PartRows", request_ids: Sequence[str]) -> None:
        """Count what a part holds of the requests of its shard."""
        self.restarts += max(0, part.num_begun - 1)
        self.redrawn += len(part.redrawn)
        self.missing += [name for name in request_ids if name not in part.rows]
        for row in part.of(request_ids):
            self.counts[row.status] += 1
            self.subjects.update(row.source_subject_ids)
            self.reason = self.reason or row.reason
            for phase, seconds in row.run.phases.items():
                self.seconds[phase] += seconds


@dataclass(frozen=True)
class PartRows:
    """What a part of a manifest holds.

    Attributes:
        rows: By request; of two rows of a request the later one counts.
        redrawn: Of draws that were not accepted and drawn again.
        num_begun: How often a worker began to draw the shard.
    """

    rows: dict[str, ManifestRow]
    redrawn: tuple[ManifestRow, ...] = ()
    num_begun: int = 0

    def of(self, request_ids: Sequence[str]) -> list[ManifestRow]:
        """Return the rows of some requests, in their order."""
        return [self.rows[name] for name in request_ids if name in self.rows]


def merge_parts(layout: CohortLayout, shards: Sequence[Sequence[str]]) -> Merged:
    """Write manifest and rejects, as Parquet and CSV, and return what is in them.

    Args:
        layout: Of the cohort.
        shards: Per shard, in order, the ids of its requests.

    Raises:
        CohortError: Rows are missing; nothing is written.
    """
    parts = {layout.part(shard): request_ids for shard, request_ids in enumerate(shards)}
    merged = Merged()

    def rows() -> Iterator[ManifestRow]:
        for part, request_ids in parts.items():
            found = rows_of_part(part)
            merged.add(found, request_ids)
            yield from found.of(request_ids)
        if missing := merged.missing:
            raise CohortError(
                f"merging the manifest of {layout.folder}: {len(missing)} of "
                f"{len(missing) + merged.counts.total()} requests have no row yet, {missing[0]} "
                "first. Run the same `vcmaug generate` again."
            )

    whole = map(rows_of_part, parts)
    parameters = type_of_parameters([*part.rows.values(), *part.redrawn] for part in whole)
    write_rows((layout.manifest, layout.manifest_csv), rows(), parameters=parameters)
    rejects = (row for part in parts for row in rows_of_part(part).redrawn)
    write_rows((layout.rejects, layout.rejects_csv), rejects, parameters=parameters)
    return merged


def rows_of_part(part: Path) -> PartRows:
    """Return what a part of a manifest holds; a part that is not there holds nothing.

    Raises:
        CohortError: An older version wrote it.
    """
    rows: dict[str, ManifestRow] = {}
    redrawn: dict[tuple[str, int], ManifestRow] = {}
    begun = 0
    for cells in read_json_lines(part):
        if cells["status"] == BEGUN:
            begun += 1
            continue
        row = row_of(cells)
        if row.status == REDRAWN:
            redrawn[row.request_id, row.drawn.tries if row.drawn else 0] = row
        else:
            rows[row.request_id] = row
    return PartRows(rows, tuple(redrawn.values()), begun)
