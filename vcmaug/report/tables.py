"""What a work folder holds, read for the report; what is missing is said, never filled in.

What it is: one record of everything found, and small tables made from it.
In the flow: files in, facts for `document` out.
Sources: none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json

__all__ = ["Found", "ReplicateFound", "Table", "find", "flow_of", "headline_of", "table_of"]


@dataclass(frozen=True)
class ReplicateFound:
    """What there is of one (n, seed); None or an empty table where it is missing."""

    name: str
    folder: Path
    control: dict[str, Any] | None
    conditions: pd.DataFrame | None
    manifest: pd.DataFrame | None
    cohort: dict[str, Any] | None
    quality: dict[str, Any] | None
    adherence: pd.DataFrame | None


@dataclass(frozen=True)
class Found:
    """What there is in a work folder."""

    folder: Path
    recipe: dict[str, Any]
    cases: pd.DataFrame | None
    prepare: dict[str, Any] | None
    splits: dict[str, Any] | None
    prior: dict[str, Any] | None
    replicates: tuple[ReplicateFound, ...]
    summary: dict[str, Any] | None


@dataclass(frozen=True)
class Table:
    """A table for the page: a caption, columns, and rows of text."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def find(work: Path) -> Found:
    """Return everything a report can use of a work folder.

    Raises:
        WorkFolderError: It is no work folder.
    """
    if not (work / "recipe.json").exists():
        raise WorkFolderError(
            f"reporting on {work}: there is no recipe.json, so it is no work folder. Name the "
            "folder that `vcmaug run RECIPE --out FOLDER` made."
        )
    cases = work / "cases" / "cases.csv"
    folders = sorted((work / "replicates").glob("n*-s*"), key=lambda path: _order(path.name))
    return Found(
        folder=work,
        recipe=read_json(work / "recipe.json"),
        cases=pd.read_csv(cases) if cases.exists() else None,
        prepare=_json(work / "cases" / "prepare.json"),
        splits=_json(work / "splits.json"),
        prior=_json(work / "prior" / "card.json"),
        replicates=tuple(_replicate(folder) for folder in folders),
        summary=_json(work / "study" / "summary.json"),
    )


def _order(name: str) -> tuple[int, ...]:
    """Return n and seed of a name such as n10-s0."""
    return tuple(int(part) for part in name.removeprefix("n").split("-s"))


def _replicate(folder: Path) -> ReplicateFound:
    """Return what there is of a replicate."""
    return ReplicateFound(
        name=folder.name,
        folder=folder,
        control=_json(folder / "control" / "card.json"),
        conditions=_parquet(folder / "conditions" / "conditions.parquet"),
        manifest=_parquet(folder / "cohort" / "manifest.parquet"),
        cohort=_json(folder / "cohort" / "cohort.json"),
        quality=_json(folder / "quality" / "quality.json"),
        adherence=_parquet(folder / "quality" / "adherence.parquet"),
    )


def _json(path: Path) -> dict[str, Any] | None:
    """Return a JSON file, or None."""
    return read_json(path) if path.exists() else None


def _parquet(path: Path) -> pd.DataFrame | None:
    """Return a Parquet file, or None."""
    return pd.read_parquet(path) if path.exists() else None


def flow_of(found: Found) -> list[tuple[str, str, str]]:
    """Return the flow as (step, count, detail), in order; a missing step says so."""
    splits, replicates = found.splits, found.replicates
    roles = "splits missing"
    if splits is not None:
        roles = ", ".join(f"{len(splits[r])} {r}" for r in ("train", "validation", "test"))
    conditions = [r.conditions for r in replicates if r.conditions is not None]
    manifests = [r.manifest for r in replicates if r.manifest is not None]
    drawn = sum(int((m["status"] == "done").sum()) for m in manifests)
    controls = [r.control for r in replicates if r.control is not None]
    subjects = len(found.prior["subjects"]) if found.prior else 0
    runs = found.summary["runs"] if found.summary else []
    return [
        ("cases", _count(None if found.cases is None else len(found.cases)), roles),
        ("prior", "1" if found.prior else "missing", f"{subjects} subjects seen, no label"),
        ("control", _count(len(controls) or None), "one per (n, seed), on exactly n labels"),
        ("conditions", _count(sum(map(len, conditions)) or None), "from the labelled cases only"),
        ("cohort", _count(drawn or None), "image and label map on one grid"),
        ("study", _count(len(runs) or None), "trainings, scored on test subjects"),
    ]


def _count(number: int | None) -> str:
    """Return a number, or that it is missing."""
    return "missing" if number is None else str(number)


def headline_of(found: Found) -> str:
    """Return what was asked and what came out, in one or two sentences."""
    if found.summary is None:
        return "The study is missing: nothing can be said yet about what the cohort is worth."
    rows = [row for row in found.summary["differences"] if row["metric"] == "dice"]
    if not rows:
        return "The study has one arm only, so there is no difference to report."
    row = rows[0]
    verdict = (
        "The interval holds zero: no effect is shown."
        if row["low"] <= 0 <= row["high"]
        else "The cohort helped here."
        if row["low"] > 0
        else "The cohort harmed here."
    )
    return (
        f"With {row['num_labelled']} labelled cases, training on the synthetic cohort as well "
        f"changed mean Dice on {row['num_subjects']} test subjects by {row['mean']:+.4f} "
        f"(95 % interval {row['low']:+.4f} to {row['high']:+.4f}, {row['num_seeds']} "
        f"{'seed' if row['num_seeds'] == 1 else 'seeds'}). {verdict}"
    )


def table_of(caption: str, rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> Table:
    """Return rows as a table of text; columns are key -> heading, numbers get four figures."""
    text = tuple(tuple(_text(row.get(key)) for key in columns) for row in rows)
    return Table(caption, tuple(columns.values()), text)


def _text(value: Any) -> str:
    """Return a cell as text."""
    if value is None:
        return "missing"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 100 else f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)
