"""What a work folder holds, read for the report; what is missing is said, never filled in.

One record of everything found, and small tables made from it.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import finished
from vcmaug.data.work_layout import Replicate, WorkLayout
from vcmaug.downstream.results import Difference, Summary, read_summary
from vcmaug.downstream.tasks.base import Score
from vcmaug.files import read_json
from vcmaug.report.study import is_ceiling, is_floor

__all__ = [
    "Cell",
    "Found",
    "ReplicateFound",
    "Table",
    "find",
    "flow_of",
    "headline_of",
    "num_labelled",
    "table_of",
]


@dataclass(frozen=True)
class ReplicateFound:
    """What there is of one (n, seed); None or an empty table where it is missing."""

    name: str
    layout: Replicate
    control: dict[str, Any] | None
    conditions: pd.DataFrame | None
    manifest: pd.DataFrame | None
    cohort: dict[str, Any] | None
    quality: dict[str, Any] | None
    adherence: pd.DataFrame | None


@dataclass(frozen=True)
class Found:
    """What there is in a work folder."""

    layout: WorkLayout
    recipe: Mapping[str, Any]
    cases: pd.DataFrame | None
    prepare: dict[str, Any] | None
    splits: dict[str, Any] | None
    prior: dict[str, Any] | None
    replicates: tuple[ReplicateFound, ...]
    summary: Summary | None
    scores: pd.DataFrame | None


@dataclass(frozen=True)
class Cell:
    """One cell as text; numbers are set to the right."""

    text: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table for the page: a caption, columns, and rows of cells."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def find(work: Path) -> Found:
    """Return everything a report can use of a work folder.

    Raises:
        WorkFolderError: It is no work folder, or one of an older version.
    """
    layout = WorkLayout(work)
    return Found(
        layout=layout,
        recipe=layout.about(),
        cases=pd.read_csv(layout.cases_csv) if layout.cases_csv.exists() else None,
        prepare=_json(layout.prepared),
        splits=_json(layout.splits),
        prior=_json(layout.prior_card),
        replicates=tuple(map(_replicate, layout.replicates_there)),
        summary=_summary(layout.summary),
        scores=_parquet(layout.scores),
    )


def _replicate(replicate: Replicate) -> ReplicateFound:
    """Return what there is of a replicate."""
    cohort = CohortLayout(replicate.cohort)
    return ReplicateFound(
        name=replicate.name,
        layout=replicate,
        control=_json(replicate.control_card),
        conditions=_parquet(replicate.conditions_table),
        manifest=_parquet(cohort.manifest),
        cohort=_json(cohort.card),
        quality=_json(replicate.quality_file),
        adherence=_parquet(replicate.adherence_file),
    )


def _json(path: Path) -> dict[str, Any] | None:
    """Return a JSON file, or None."""
    return read_json(path) if path.exists() else None


def _summary(path: Path) -> Summary | None:
    """Return the summary of a study, or None."""
    return read_summary(path) if path.exists() else None


def _parquet(path: Path) -> pd.DataFrame | None:
    """Return a Parquet file, or None."""
    return pd.read_parquet(path) if path.exists() else None


def num_labelled(control: Mapping[str, Any]) -> int:
    """Return how many labelled subjects a control has seen, of its card in any version's form."""
    seen = control.get("seen", {})
    return len(seen.get("labels", control.get("labelled_subjects", ())))


def _num_images(prior: Mapping[str, Any]) -> int:
    """Return how many subjects' images a prior has seen, of its card in any version's form."""
    return len(prior.get("seen", {}).get("images", prior.get("subjects", ())))


def flow_of(found: Found) -> list[tuple[str, str, str]]:
    """Return the flow as (step, count, detail), in order; a missing step says so."""
    replicates = found.replicates
    conditions = [r.conditions for r in replicates if r.conditions is not None]
    controls = [r.control for r in replicates if r.control is not None]
    seen = {num_labelled(control) for control in controls}
    runs = found.summary.runs if found.summary else ()
    subjects = "" if found.cases is None else f"of {found.cases['subject_id'].nunique()} subjects"
    return [
        ("cases", _count(None if found.cases is None else len(found.cases)), subjects),
        _split_step(found),
        _prior_step(found),
        (
            "control",
            _count(len(controls) or None),
            f"on {_listed(seen)} labelled subjects" if seen else "one per (n, seed)",
        ),
        ("conditions", _count(sum(map(len, conditions)) or None), "from the labelled cases only"),
        _cohort_step(found),
        ("study", _count(len(runs) or None), "trainings, scored on the test subjects"),
    ]


def _split_step(found: Found) -> tuple[str, str, str]:
    """Return how many subjects train, and how many are held out."""
    if found.splits is None:
        return "split", "missing", "by subject"
    held = f"train; {len(found.splits['validation'])} validation, {len(found.splits['test'])} test"
    return "split", str(len(found.splits["train"])), held


def _prior_step(found: Found) -> tuple[str, str, str]:
    """Return whether there is a prior, and how many subjects it has seen."""
    if found.prior is None:
        return "prior", "missing", "frozen diffusion model"
    return "prior", "1", f"frozen; saw images of {_num_images(found.prior)} subjects"


def _cohort_step(found: Found) -> tuple[str, str, str]:
    """Return how many cases are drawn, and how many failed."""
    manifests = [r.manifest for r in found.replicates if r.manifest is not None]
    if not manifests:
        return "cohort", "missing", "synthetic cases"
    number = sum(map(len, manifests))
    failed = sum(len(manifest) - len(finished(manifest)) for manifest in manifests)
    return "cohort", str(number - failed), f"synthetic cases; {failed or 'none'} failed"


def _count(number: int | None) -> str:
    """Return a number, or that it is missing."""
    return "missing" if number is None else str(number)


def _listed(items: Iterable[Any]) -> str:
    """Return things in their order, as text.

    Examples:
        >>> _listed({20, 5, 10})
        '5, 10 and 20'
    """
    *first, last = [str(item) for item in sorted(items)]
    return f"{', '.join(first)} and {last}" if first else last


def headline_of(found: Found) -> list[str]:
    """Return what was asked, and what came out, one sentence per arm and n."""
    summary = found.summary
    if summary is None:
        return ["The study is missing: nothing can be said yet about what the cohort is worth."]
    headline = summary.headline
    rows = [
        row
        for row in summary.differences
        if row.metric == headline.name and is_floor(row.against) and not is_ceiling(row.arm)
    ]
    if not rows:
        return ["The study has one arm only, so there are no differences to report."]
    asked = (
        "Asked: does training on the few labelled cases and on made ones segment "
        f"{_listed(name.replace('_', ' ') for name in summary.structures)} better than "
        f"training on the labelled cases alone, at the same {summary.updates} updates?"
    )
    closed = {
        (row.arm, row.num_labelled): row.share
        for row in summary.gap_closed
        if row.metric == headline.name
    }
    return [asked, *(_outcome(row, closed, headline) for row in rows)]


def _outcome(
    row: Difference, closed: Mapping[tuple[str, int], float | None], headline: Score
) -> str:
    """Return the paired difference at one n as a sentence, and the share of the label gap."""
    side = "above" if row.low > 0 else "below" if row.high < 0 else ""
    harmed = side == {"higher": "below", "lower": "above"}[headline.better]
    verdict = "the interval holds zero, so no effect is shown"
    if side:
        verdict = f"the interval lies {side} zero" + (
            ", so the cohort harmed here" if harmed else ""
        )
    seeds = f"{row.num_seeds} seed" + ("s" if row.num_seeds > 1 else "")
    cases = f"{row.num_labelled} labelled case" + ("s" if row.num_labelled > 1 else "")
    return (
        f"{row.arm}, {cases}: mean {headline.title} changed by {row.mean:+.4f} "
        f"(95 % interval {row.low:+.4f} to {row.high:+.4f}; {row.num_subjects} test "
        f"subjects, {seeds}): {verdict}.{_of_gap(closed.get((row.arm, row.num_labelled)))}"
    )


def _of_gap(share: float | None) -> str:
    """Return the share of the label gap as a sentence, or nothing."""
    return "" if share is None else f" That is {100 * share:.0f} % of the way to all labels."


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
        columns: Name -> heading, in order.
        signed: Names of columns whose numbers are differences and always carry a sign.
    """
    text = tuple(
        tuple(_cell(row.get(key), signed=key in signed) for key in columns) for row in rows
    )
    return Table(caption, tuple(columns.values()), text)


def _cell(value: object, *, signed: bool) -> Cell:
    """Return a value as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("missing")
    if isinstance(value, float):
        digits = 4 if abs(value) < 10 else 2 if abs(value) < 1000 else 0
        return Cell(f"{value:{'+' if signed else ''},.{digits}f}", is_number=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return Cell(f"{value:,}", is_number=True)
    return Cell(str(value))
