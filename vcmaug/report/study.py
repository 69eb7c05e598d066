"""What the page says of a study: one sentence per arm and n, and the tables behind them."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from vcmaug.arms.base import Arm
from vcmaug.downstream.results import Difference, GapClosed, Mean, Summary
from vcmaug.downstream.statistics import decimals_of, in_decimals
from vcmaug.report.tables import Cell, Table, listed, records, table_of

__all__ = ["headline_of", "is_ceiling", "is_floor", "study_tables"]


def is_ceiling(arm: str) -> bool:
    """Return whether an arm, of an older study too, is known to train on every label."""
    known = Arm.of_result(arm)
    return known is not None and known.is_ceiling


def is_floor(arm: str) -> bool:
    """Return whether an arm is known to be the baseline without any help."""
    known = Arm.of_result(arm)
    return known is not None and known.is_baseline and known.folder is None


def headline_of(summary: Summary | None) -> list[str]:
    """Return what was asked, and what came out, one sentence per arm and n."""
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
        f"{listed(name.replace('_', ' ') for name in summary.structures)} better than "
        f"training on the labelled cases alone, at the same {summary.updates} updates?"
    )
    closed = {
        (
            row.arm,
            row.num_labelled,
        ): f" That is {in_decimals(100 * row.share, 0)} % of the way to all labels."
        for row in summary.gap_closed
        if row.metric == headline.name and row.share is not None
    }
    outcomes = [
        _outcome(row, summary) + closed.get((row.arm, row.num_labelled), "") for row in rows
    ]
    return [asked, *outcomes]


def _outcome(row: Difference, summary: Summary) -> str:
    """Return the paired difference at one n as a sentence."""
    mean, low, high = summary.rounded(row, "+")
    seeds = f"{row.num_seeds} seed" + ("s" if row.num_seeds > 1 else "")
    cases = f"{row.num_labelled} labelled case" + ("s" if row.num_labelled > 1 else "")
    return (
        f"{row.arm}, {cases}: mean {summary.headline.title} changed by {mean} (95 % interval {low} "
        f"to {high}; {row.num_subjects} test subjects, {seeds}): {summary.verdict(row)}."
    )


def study_tables(summary: Summary | None, scores: pd.DataFrame | None) -> list[Table]:
    """Return means and differences of a study.

    Args:
        summary: Of the study; None: there is none.
        scores: Of every test case, if they are there.
    """
    if summary is None:
        return []
    titles = {score.name: score.title for score in summary.scores}
    means = [_shown(row, summary) for row in summary.means]
    differences = [
        {**_shown(row, summary, "+"), "verdict": summary.verdict(row)}
        for row in summary.differences
    ]
    closed = [
        {**vars(row), "metric": titles[row.metric], **_share(row)} for row in summary.gap_closed
    ]
    interval = {"low": "2.5 %", "high": "97.5 %"}
    estimate = {"mean": "mean", **interval, "num_subjects": "subjects"}
    place = {"metric": "metric", "arm": "arm", "num_labelled": "n"}
    against = {"metric": "metric", "arm": "arm", "against": "against", "num_labelled": "n"}
    by_prior = {"by_prior": "labels by the prior"} if summary.prior_labels else {}
    tables = [
        table_of(
            " ".join(
                [f"Paired differences; {summary.interval}.", _directions(summary), *summary.notes]
            ),
            differences,
            {**against, **estimate, "num_seeds": "seeds", **by_prior, "verdict": "verdict"},
        ),
        table_of(
            "Share of the label gap closed: (arm - real) / (all-real - real); 1 is as good as all "
            "labels. No interval is given where the gap itself may be zero.",
            closed,
            {**place, "share": "share", **interval},
        ),
        table_of(
            f"Means over {summary.scored_on} subjects, "
            f"{summary.updates} updates in every arm. {summary.empty_rule}",
            means,
            {**place, **estimate, **by_prior},
        ),
    ]
    if not closed:  # no arm with every label
        tables.pop(1)
    return tables if scores is None else tables + _by_structure(scores, summary)


def _shown(
    row: Mean | Difference, summary: Summary, sign: Literal["", "+"] = ""
) -> dict[str, object]:
    """Return the columns of an estimate, its figures with the decimals that they carry."""
    titles = {score.name: score.title for score in summary.scores}
    figures = zip(("mean", "low", "high"), summary.rounded(row, sign), strict=True)
    shown = {name: Cell(text, is_number=True) for name, text in figures}
    by_prior = {one.arm: one.num_subjects or "not listed" for one in summary.prior_labels}
    named = {"metric": titles[row.metric], "by_prior": by_prior.get(row.arm, 0)}
    return {**vars(row), **named, **shown}


def _share(row: GapClosed) -> dict[str, object]:
    """Return a share and its ends with the decimals that its interval carries, one without it."""
    ends = (row.low, row.high)
    known = [end for end in ends if end is not None]
    decimals = decimals_of((max(known) - min(known)) / 2) if len(known) == len(ends) else 1
    figures = {"share": row.share, "low": row.low, "high": row.high}
    return {
        name: None if value is None else Cell(in_decimals(value, decimals), is_number=True)
        for name, value in figures.items()
    }


def _directions(summary: Summary) -> str:
    """Return which scores are better lower and which higher, of those that are compared."""
    held = {row.metric for row in summary.differences}
    lower = [s.title for s in summary.scores if s.name in held and s.better == "lower"]
    if not lower:
        return "Higher is better."
    others = "; all others: higher is better" if len(lower) < len(held) else ""
    return f"{'; '.join(lower)}: lower is better{others}."


def _by_structure(scores: pd.DataFrame, summary: Summary) -> list[Table]:
    """Return mean scores per structure, n and arm, in the tables that the scores name."""
    if "structure" not in scores:
        return []
    columns: dict[str, dict[str, str]] = {}
    for score in summary.scores:
        if score.name in scores:
            columns.setdefault(score.table, {})[score.name] = score.title
    decimals = {
        name: min([row.decimals for row in summary.means if row.metric == name], default=1)
        for titles in columns.values()
        for name in titles
    }
    return [_means(caption, scores, titles, decimals) for caption, titles in columns.items()]


def _means(
    caption: str,
    scores: pd.DataFrame,
    titles: Mapping[str, str],
    decimals: Mapping[str, int],
) -> Table:
    """Return the means of some scores per structure, n and arm, with so many decimals."""
    names, keys = list(titles), ["structure", "num_labelled", "arm"]
    means = scores.dropna(subset=names).groupby(keys, sort=False)[names].mean().reset_index()
    means = means.sort_values(["structure", "num_labelled"], kind="stable")
    figures = means[names].to_numpy(dtype=float)
    cells = [
        {
            name: Cell(in_decimals(value, decimals[name]), is_number=True)
            for name, value in zip(names, line, strict=True)
        }
        for line in figures
    ]
    rows = [{**row, **shown} for row, shown in zip(records(means), cells, strict=True)]
    heads = {"structure": "structure", "num_labelled": "n", "arm": "arm", **titles}
    return table_of(caption, rows, heads)
