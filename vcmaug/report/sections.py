"""The tables of quality and study, one function per section of the page."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vcmaug.downstream.results import Summary
from vcmaug.quality.metrics.base import Metric
from vcmaug.quality.run import METRICS
from vcmaug.report.tables import Found, Table, table_of

__all__ = ["drawing_tables", "quality_tables", "study_tables"]

_OWN = tuple(metric.figure for metric in METRICS)
_PHASES = ("read", "encode", "sample", "decode", "accept", "write")


def quality_tables(found: Found) -> list[Table]:
    """Return the metrics of all cohorts, real figures beside synthetic ones."""
    done = [(r.name, r.quality) for r in found.replicates if r.quality is not None]
    faults = [f"{r.name}: the evaluation is missing." for r in found.replicates if not r.quality]
    faults += [f"{name}: missing: {'; '.join(q['missing'])}." for name, q in done if q["missing"]]
    tables = _sections(done) if done else []
    return tables + [_only_said(fault) for fault in faults]


def _only_said(caption: str) -> Table:
    """Return a table that has nothing but its caption."""
    return Table(caption, (), ())


def _sections(done: Sequence[tuple[str, dict[str, Any]]]) -> list[Table]:
    """Return a table per section of the evaluations, in which metrics of one section share rows."""
    sections: dict[str, list[type[Metric]]] = {}
    figures = dict.fromkeys(name for _, quality in done for name in quality.get("metrics", _OWN))
    by_figure = {metric.figure: metric for metric in Metric.parts().values()}
    for metric in (by_figure[name] for name in figures if name in by_figure):
        sections.setdefault(metric.section, []).append(metric)
    return [_section(name, metrics, done) for name, metrics in sections.items()]


def _section(
    section: str, metrics: Sequence[type[Metric]], done: Sequence[tuple[str, dict[str, Any]]]
) -> Table:
    """Return the table of one section, per cohort."""
    first = metrics[0]
    columns = {"name": "cohort"}
    for metric in metrics:
        columns |= metric.columns
    rows = [
        {"name": name, **row}
        for name, quality in done
        for row in first.shown(quality.get(section, ()))
    ]
    return table_of(first.caption([quality for _, quality in done]), rows, columns)


def drawing_tables(found: Found) -> list[Table]:
    """Return what became of all draws, and where their time went, per cohort."""
    cards = [(r.name, r.cohort) for r in found.replicates if r.cohort and "num_redrawn" in r.cohort]
    if not cards:
        return []
    rows = []
    for name, card in cards:
        done, redrawn = card["counts"].get("done", 0), card["num_redrawn"]
        row = {"name": name, **card["counts"], "redrawn": redrawn}
        row["rate"] = done / (sum(card["counts"].values()) + redrawn)
        rows.append(row | {phase: spent / card["n"] for phase, spent in card["seconds"].items()})
    phases = [phase for phase in _PHASES if any(phase in row for row in rows)]
    counts = {"name": "cohort", "done": "done"}
    counts |= {key: key for key in ("failed", "rejected") if any(key in row for row in rows)}
    shown = counts | {"redrawn": "redrawn", "rate": "done, of all draws"}
    shown |= {phase: f"{phase}, s" for phase in phases}
    filled = [dict.fromkeys(counts, 0) | dict.fromkeys(phases, 0.0) | row for row in rows]
    return [table_of("Draws, and seconds per case of each phase of drawing", filled, shown)]


def study_tables(found: Found) -> list[Table]:
    """Return means and differences of the study."""
    summary = found.summary
    if summary is None:
        return []
    titles = {score.name: score.title for score in summary.scores}
    means, differences, closed = (
        [{**vars(row), "metric": titles[row.metric]} for row in rows]
        for rows in (summary.means, summary.differences, summary.gap_closed)
    )
    shared = {"mean": "mean", "low": "2.5 %", "high": "97.5 %", "num_subjects": "subjects"}
    place = {"metric": "metric", "arm": "arm", "num_labelled": "n"}
    against = {"metric": "metric", "arm": "arm", "against": "against", "num_labelled": "n"}
    tables = [
        table_of(
            f"Paired differences; {summary.interval}. {_directions(summary)}",
            differences,
            {**against, **shared, "num_seeds": "seeds"},
            signed=("mean", "low", "high"),
        ),
        table_of(
            "Share of the label gap closed: (arm - real) / (all-real - real); 1 is as good as all "
            "labels. No interval is given where the gap itself may be zero.",
            closed,
            {**place, "share": "share", "low": "2.5 %", "high": "97.5 %"},
        ),
        table_of(
            f"Means over {summary.scored_on} subjects, "
            f"{summary.updates} updates in every arm. {summary.empty_rule}",
            means,
            {**place, **shared},
        ),
    ]
    if not closed:  # no arm with every label
        tables.pop(1)
    return tables if found.scores is None else [*tables, *_by_structure(found.scores, summary)]


def _directions(summary: Summary) -> str:
    """Return which scores are better lower and which higher, of those that are compared."""
    held = {row.metric for row in summary.differences}
    lower = [s.title for s in summary.scores if s.name in held and s.better == "lower"]
    if not lower:
        return "Higher is better."
    others = "; all others: higher is better" if len(lower) < len(held) else ""
    return f"{'; '.join(lower)}: lower is better{others}."


def _by_structure(table: pd.DataFrame, summary: Summary) -> list[Table]:
    """Return mean scores per structure, in the tables that the scores name."""
    if "structure" not in table:
        return []
    captions: dict[str, dict[str, str]] = {}
    for score in summary.scores:
        if score.name in table:
            captions.setdefault(score.table, {})[score.name] = score.title
    return [
        _structure_means(caption, table.dropna(subset=list(columns)), columns)
        for caption, columns in captions.items()
    ]


def _structure_means(caption: str, scores: pd.DataFrame, metrics: dict[str, str]) -> Table:
    """Return the means of some metrics per structure, n and arm."""
    keys = ["structure", "num_labelled", "arm"]
    means = scores.groupby(keys, sort=False)[list(metrics)].mean().reset_index()
    rows = means.sort_values(["structure", "num_labelled"], kind="stable").to_dict("records")
    return table_of(
        caption,
        [{str(key): value for key, value in row.items()} for row in rows],
        {"structure": "structure", "num_labelled": "n", "arm": "arm", **metrics},
    )
