"""The tables of quality and study, one function per section of the page.

What it is: rows of JSON as captioned tables.
In the flow: `document` puts them on the page.
Sources: none.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vcmaug.report.tables import Found, Table, table_of

__all__ = ["drawing_tables", "quality_tables", "study_tables"]

_PHASES = ("read", "encode", "sample", "decode", "accept", "write")

_METRICS = {
    "dice": "Dice",
    "hd95_mm": "HD95, mm",
    "lesion_f1": "lesion-wise F1",
    "lesion_sensitivity": "lesion-wise sensitivity",
    "lesion_precision": "lesion-wise precision",
}


def quality_tables(found: Found) -> list[Table]:
    """Return adherence and distances of all cohorts, real figures beside synthetic ones."""
    done = [(r.name, r.quality) for r in found.replicates if r.quality is not None]
    faults = [f"{r.name}: the evaluation is missing." for r in found.replicates if not r.quality]
    faults += [f"{name}: missing: {'; '.join(q['missing'])}." for name, q in done if q["missing"]]
    tables = [_adherence(done), _distances(done), _memorisation(done)] if done else []
    return tables + [_only_said(fault) for fault in faults]


def _only_said(caption: str) -> Table:
    """Return a table that has nothing but its caption."""
    return Table(caption, (), ())


def _adherence(done: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Return Dice on synthetic and on real images, per cohort and structure."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, quality in done:
        for row in quality["adherence"]:
            about = {"name": name, "structure": row["structure"]}
            rows.setdefault((name, row["structure"]), about)[row["source"]] = row["dice"]
    subjects = max(quality["reader"].get("subjects", 0) for _, quality in done)
    return table_of(
        "Adherence: Dice (0 to 1, higher is better) between the label map and what an independent "
        f"segmenter finds in the image. It was trained on {subjects} other real subjects; the "
        "column of held-out real images is its own skill.",
        list(rows.values()),
        {
            "name": "cohort",
            "structure": "structure",
            "synthetic": "synthetic images",
            "real": "real images",
        },
    )


def _distances(done: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Return distances from real images, per cohort, with the floor above."""
    return table_of(
        "Distance from real images (0 or more, lower is nearer), between sets of equal size. The "
        "row real vs real is the floor: one half of the held-out real images against the other.",
        [{"name": name, **row} for name, quality in done for row in quality["distances"]],
        {
            "name": "cohort",
            "row": "sets",
            "num_first": "real",
            "num_second": "other",
            "frechet_distance": "Frechet distance",
            "mmd_squared": "MMD squared",
            "mmd_p_value": "p (permutation)",
        },
    )


def _memorisation(done: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Return the share of images nearer to training than to hold-out images, per cohort."""
    return table_of(
        "Memorisation: share of images whose nearest real image, by simple descriptors, is one "
        "that prior or control was trained on (0 to 1; one half if nothing was memorised). The "
        "row of held-out real images is the floor.",
        [{"name": name, **row} for name, quality in done for row in quality["memorisation"]],
        {
            "name": "cohort",
            "row": "images",
            "num": "asked",
            "num_each": "training and hold-out, each",
            "share_nearer_to_train": "share nearer to training",
        },
    )


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
    if found.summary is None:
        return []
    means, differences = (
        [{**row, "metric": _METRICS[row["metric"]]} for row in found.summary[part]]
        for part in ("means", "differences")
    )
    shared = {"mean": "mean", "low": "2.5 %", "high": "97.5 %", "num_subjects": "subjects"}
    closed = [
        {**row, "metric": _METRICS[row["metric"]]} for row in found.summary.get("gap_closed", [])
    ]
    tables = [
        table_of(
            f"Paired differences; {found.summary['interval']}. HD95: lower is better; all others: "
            "higher is better.",
            differences,
            {
                "metric": "metric",
                "arm": "arm",
                "against": "against",
                "num_labelled": "n",
                **shared,
                "num_seeds": "seeds",
            },
            signed=("mean", "low", "high"),
        ),
        table_of(
            "Share of the label gap closed: (arm - real) / (all-real - real); 1 is as good as all "
            "labels. No interval is given where the gap itself may be zero.",
            closed,
            {
                "metric": "metric",
                "arm": "arm",
                "num_labelled": "n",
                "share": "share",
                "low": "2.5 %",
                "high": "97.5 %",
            },
        ),
        table_of(
            f"Means over {found.summary.get('scored_on', 'test')} subjects, "
            f"{found.summary['updates']} updates in every arm. {found.summary['empty_rule']}",
            means,
            {"metric": "metric", "arm": "arm", "num_labelled": "n", **shared},
        ),
    ]
    if not closed:  # no arm with every label
        tables.pop(1)
    return tables if found.scores is None else [*tables, *_by_structure(found.scores)]


def _by_structure(scores: pd.DataFrame) -> list[Table]:
    """Return mean scores per structure, those of single lesions in a table of their own."""
    voxels = {key: name for key, name in _METRICS.items() if not key.startswith("lesion")}
    lesions = {key: _METRICS[key] for key in _METRICS if key not in voxels and key in scores}
    tables = [_structure_means("Means per structure", scores, voxels)]
    if lesions:
        caption = "Means lesion by lesion; a lesion is found where a tenth of it is predicted."
        tables.append(_structure_means(caption, scores.dropna(subset=list(lesions)), lesions))
    return tables


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
