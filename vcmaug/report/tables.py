"""Tables of the page: rows as text, and those of evaluations, draws and manifests."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vcmaug.downstream.statistics import in_decimals
from vcmaug.quality.metrics.base import Metric
from vcmaug.quality.results import Quality
from vcmaug.quality.run import METRICS
from vcmaug.report.found import ReplicateFound

__all__ = [
    "Cell",
    "Table",
    "drawing_tables",
    "listed",
    "manifest_table",
    "quality_tables",
    "records",
    "table_of",
]

_PHASES = ("read", "encode", "sample", "decode", "accept", "write")
_MANIFEST_COLUMNS = {
    "case_id": "case",
    "status": "status",
    "condition_id": "condition",
    "source_case_ids": "from",
    "builder": "builder",
    "sampler": "sampler",
    "strength": "strength",
    "seconds": "seconds",
    "image_sha256": "image sha256",
}


@dataclass(frozen=True)
class Cell:
    """One cell as text; numbers are set to the right."""

    text: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table for the page: a caption, columns, and rows of cells."""

    caption: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def table_of(
    caption: str,
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, str],
    *,
    signed: Collection[str] = (),
) -> Table:
    """Return rows as a table of text.

    Args:
        caption: Stands above it.
        rows: One mapping per row; a name that is not there is shown as missing.
        columns: Name -> heading, in order; a value that is a cell stays as it is.
        signed: Names of columns whose numbers are differences and always carry a sign.
    """
    text = tuple(
        tuple(_cell(row.get(key), signed=key in signed) for key in columns) for row in rows
    )
    return Table(caption, tuple(columns.values()), text)


def _cell(value: object, *, signed: bool) -> Cell:
    """Return a value as text."""
    if isinstance(value, Cell):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("missing")
    if isinstance(value, float):
        digits = 4 if abs(value) < 10 else 2 if abs(value) < 1000 else 0
        return Cell(in_decimals(value, digits, "+" if signed else ""), is_number=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return Cell(f"{value:,}", is_number=True)
    return Cell(str(value))


def records(frame: pd.DataFrame) -> list[Mapping[str, object]]:
    """Return the rows of a frame by column."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def listed(items: Iterable[str | int]) -> str:
    """Return things in their order, as text.

    Examples:
        >>> listed({20, 5, 10})
        '5, 10 and 20'
    """
    *first, last = [str(item) for item in sorted(items)]
    return f"{', '.join(first)} and {last}" if first else last


def quality_tables(replicates: Sequence[ReplicateFound]) -> list[Table]:
    """Return the metrics of all cohorts, real figures beside synthetic ones, and what is missing.

    Metrics of one section share rows. Figures that no known metric has are passed over.
    """
    done = {one.name: one.quality for one in replicates if one.quality is not None}
    faults = [f"{r.name}: the evaluation is missing." for r in replicates if r.quality is None]
    faults += [f"{name}: missing: {'; '.join(q.missing)}." for name, q in done.items() if q.missing]
    own = [metric.figure for metric in METRICS]  # older evaluations do not name theirs
    figures = dict.fromkeys(name for one in done.values() for name in one.metrics or own)
    known = {metric.figure: metric for metric in Metric.parts().values()}
    sections: dict[str, list[type[Metric]]] = {}
    for metric in (known[name] for name in figures if name in known):
        sections.setdefault(metric.section, []).append(metric)
    tables = [_section(metrics, done) for metrics in sections.values()]
    return tables + [Table(fault) for fault in faults]


def _section(metrics: Sequence[type[Metric]], done: Mapping[str, Quality]) -> Table:
    """Return the table of the metrics of one section, per cohort."""
    first = metrics[0]
    columns = {"name": "cohort"}
    for metric in metrics:
        columns |= metric.columns
    rows = [
        {"name": name, **row}
        for name, quality in done.items()
        for row in first.shown(quality.rows(first.section))
    ]
    return table_of(first.caption([*done.values()]), rows, columns)


def drawing_tables(replicates: Sequence[ReplicateFound]) -> list[Table]:
    """Return what became of all draws, and where their time went, per cohort."""
    cards = [(one.name, one.cohort) for one in replicates if one.cohort is not None]
    if not cards:
        return []
    states = [s for s in ("failed", "rejected") if any(s in card.counts for _, card in cards)]
    phases = [phase for phase in _PHASES if any(phase in card.seconds for _, card in cards)]
    rows = []
    for name, card in cards:
        counts = {state: card.counts.get(state, 0) for state in ("done", *states)}
        rate = counts["done"] / (sum(card.counts.values()) + card.num_redrawn)
        seconds = {phase: card.seconds.get(phase, 0.0) / card.n for phase in phases}
        rows.append({"name": name, **counts, "redrawn": card.num_redrawn, "rate": rate, **seconds})
    heads = {"name": "cohort", **{state: state for state in ("done", *states)}}
    heads |= {"redrawn": "redrawn", "rate": "done, of all draws"}
    heads |= {phase: f"{phase}, s" for phase in phases}
    return [table_of("Draws, and seconds per case of each phase of drawing", rows, heads)]


def manifest_table(name: str, manifest: pd.DataFrame) -> Table:
    """Return the first rows of a manifest, its main columns."""
    counts = ", ".join(f"{n} {status}" for status, n in manifest["status"].value_counts().items())
    first = manifest.head(20)
    first = first.assign(
        source_case_ids=first["source_case_ids"].map(", ".join),
        image_sha256=first["image_sha256"].str[:12],
    )
    caption = f"{name}: {counts}; the first {len(first)} rows of manifest.parquet"
    return table_of(caption, records(first), _MANIFEST_COLUMNS)
