"""`write_report`: everything in a work folder as one HTML file that opens offline.

What it is: the sections, filled from `tables` and `figures`, and the template beside this file.
In the flow: the last stage.
Sources: none.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from vcmaug.data.labels import LabelScheme
from vcmaug.files import write_text
from vcmaug.report.figures import learning_curve, montage
from vcmaug.report.tables import Found, ReplicateFound, Table, find, flow_of, headline_of, table_of
from vcmaug.seeding import stable_seed

__all__ = ["write_report"]

_SHOWN = 5
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


def write_report(work: Path, out: Path | None = None, *, seed: int = 0) -> Path:
    """Write the report of a work folder and return its path.

    Args:
        work: A work folder; whatever is missing in it is said to be missing.
        out: The HTML file, or None for WORK/report.html.
        seed: Of the random cases shown; cases are chosen by a hash, not by eye.

    Raises:
        WorkFolderError: It is no work folder.
    """
    found = find(work)
    target = out or work / "report.html"
    environment = Environment(
        loader=PackageLoader("vcmaug.report", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=found.recipe["title"] or found.recipe["name"],
        name=found.recipe["name"],
        profile=found.recipe["profile"],
        caveat=found.recipe["recipe"].get("caveat", ""),
        headline=headline_of(found),
        flow=flow_of(found),
        legend=[] if found.prepare is None else found.prepare["scheme"],
        montages=_montages(found, seed=seed),
        quality=_quality(found),
        curve=None if found.summary is None else learning_curve(found.summary),
        study=_study(found),
        manifests=[_manifest(r) for r in found.replicates if r.manifest is not None],
        provenance=_provenance(found),
        limits=_limits(found),
    )
    write_text(target, page)
    return target


def _montages(found: Found, *, seed: int) -> list[tuple[str, str | None]]:
    """Return (caption, PNG or None) per montage."""
    if found.prepare is None or found.cases is None:
        return [("Real and synthetic volumes: missing, since no case is prepared.", None)]
    scheme = LabelScheme.from_json(found.prepare["scheme"])
    shown = [("Real cases, chosen at random, with their label maps", _real(found, seed=seed))]
    first = next((r for r in found.replicates if r.manifest is not None), None)
    if first is None:
        return [(shown[0][0], montage(shown[0][1], scheme)), ("Synthetic cases: missing.", None)]
    shown += _synthetic(first, seed=seed)
    return [(caption, montage(files, scheme) if files else None) for caption, files in shown]


def _real(found: Found, *, seed: int) -> list[tuple[str, Path, Path]]:
    """Return some labelled training cases, by hash."""
    assert found.cases is not None  # asked before
    cases, folder = found.cases, found.folder / "cases"
    if found.splits is not None:
        cases = cases[cases["subject_id"].astype(str).isin(found.splits["train"])]
    if "label" in cases:
        cases = cases[cases["label"].notna()]
    rows = sorted(cases.to_dict("records"), key=lambda r: stable_seed(seed, str(r["case_id"])))
    return [
        (str(row["case_id"]), folder / str(row["image"]), folder / str(row["label"]))
        for row in rows[:_SHOWN]
    ]


def _synthetic(
    replicate: ReplicateFound, *, seed: int
) -> list[tuple[str, list[tuple[str, Path, Path]]]]:
    """Return random, best and worst synthetic cases with their captions."""
    assert replicate.manifest is not None  # asked before
    done = replicate.manifest[replicate.manifest["status"] == "done"].set_index("case_id")
    by_hash = sorted(done.index, key=lambda name: stable_seed(seed, str(name)))
    shown = [(f"Synthetic cases ({replicate.name}), chosen at random", by_hash[:_SHOWN])]
    dice = pd.Series(dtype=float)
    if replicate.adherence is not None and not replicate.adherence.empty:
        own = replicate.adherence[replicate.adherence["source"] == "synthetic"]
        dice = own.groupby("case_id")["dice"].mean().sort_values()
        shown.append(("Synthetic cases of best adherence", list(dice.index[::-1][:_SHOWN])))
        shown.append(("Synthetic cases of worst adherence", list(dice.index[:_SHOWN])))
    folder = replicate.folder / "cohort"
    return [
        (
            caption,
            [
                (
                    f"{name.removeprefix('synthetic-')}"
                    + (f", Dice {dice[name]:.2f}" if name in dice.index else ""),
                    folder / str(done.loc[name, "image"]),
                    folder / str(done.loc[name, "label"]),
                )
                for name in names
            ],
        )
        for caption, names in shown
    ]


def _quality(found: Found) -> list[Table]:
    """Return adherence and distances per replicate, real rows beside synthetic ones."""
    tables = []
    for replicate in found.replicates:
        quality = replicate.quality
        if quality is None:
            tables.append(Table(f"{replicate.name}: evaluation missing", (), ()))
            continue
        subjects = quality["reader"].get("subjects", 0)
        tables.append(
            table_of(
                f"{replicate.name}: Dice between the asked label map and what an independent "
                f"segmenter finds in the image (trained on {subjects} other real subjects). The "
                "real rows are its own skill on held-out real images.",
                quality["adherence"],
                {"source": "images", "structure": "structure", "dice": "Dice"},
            )
        )
        tables.append(
            table_of(
                f"{replicate.name}: distance from real images (lower is nearer). The first row is "
                "the floor: one half of the held-out real images against the other.",
                quality["distances"],
                {
                    "row": "sets",
                    "num_first": "real",
                    "num_second": "other",
                    "frechet_distance": "Frechet distance",
                    "mmd_squared": "MMD squared",
                    "mmd_p_value": "p (permutation)",
                },
            )
        )
    return tables


def _study(found: Found) -> list[Table]:
    """Return means and differences of the study."""
    if found.summary is None:
        return []
    shared = {"mean": "mean", "low": "2.5 %", "high": "97.5 %", "num_subjects": "subjects"}
    return [
        table_of(
            f"Paired differences from real only; {found.summary['interval']}.",
            found.summary["differences"],
            {"metric": "metric", "num_labelled": "n", **shared, "num_seeds": "seeds"},
        ),
        table_of(
            f"Means over test subjects, {found.summary['updates']} updates in every arm. "
            f"{found.summary['empty_rule']}",
            found.summary["means"],
            {"metric": "metric", "arm": "arm", "num_labelled": "n", **shared},
        ),
    ]


def _manifest(replicate: ReplicateFound) -> Table:
    """Return the first rows of a manifest, its main columns."""
    assert replicate.manifest is not None  # asked before
    manifest = replicate.manifest
    counts = ", ".join(f"{n} {status}" for status, n in manifest["status"].value_counts().items())
    rows = [{str(k): v for k, v in row.items()} for row in manifest.head(20).to_dict("records")]
    for row in rows:
        row["source_case_ids"] = ", ".join(json.loads(row["source_case_ids"]))
        row["image_sha256"] = row["image_sha256"][:12]
    caption = f"{replicate.name}: {counts}; the first {len(rows)} rows of manifest.parquet"
    return table_of(caption, rows, _MANIFEST_COLUMNS)


def _provenance(found: Found) -> Table:
    """Return where the data, the models and the numbers come from."""
    rows: list[dict[str, Any]] = [
        {"what": "data", "value": found.recipe["recipe"].get("data_note") or "not stated"}
    ]
    if found.prior is not None:
        parameters = sum(found.prior["num_parameters"].values())
        rows += [
            {"what": "prior", "value": f"{found.prior['name']}, {parameters:,} parameters"},
            {"what": "prior, sha256", "value": found.prior["weights_sha256"]},
            {"what": "prior, licence", "value": found.prior.get("licence") or "not stated"},
            {"what": "prior, data", "value": found.prior.get("data") or "not stated"},
        ]
    for replicate in found.replicates:
        if replicate.control is not None:
            seen = len(replicate.control["labelled_subjects"])
            start = replicate.control.get("started_from")
            text = f"{replicate.control['num_parameters']:,} parameters, {seen} labelled subjects"
            text += f", started from {start} of the zoo" if start else ""
            rows.append({"what": f"{replicate.name}, control", "value": text})
            hashed = replicate.control["weights_sha256"]
            rows.append({"what": f"{replicate.name}, control, sha256", "value": hashed})
    if found.summary is not None:
        rows += [{"what": name, "value": v} for name, v in found.summary["versions"].items()]
        computer = ", ".join(f"{k} {v}" for k, v in found.summary["machine"].items())
        rows.append({"what": "machine", "value": computer})
        rows.append({"what": "study, seconds", "value": found.summary["seconds"]})
        share = found.summary["augmentation_share"]
        rows.append({"what": "augmentation's share of that", "value": share})
    return table_of("Provenance", rows, {"what": "what", "value": "value"})


def _limits(found: Found) -> list[str]:
    """Return what the page does not show."""
    limits = [
        "Adherence is what one segmenter sees; it shares that network's blind spots.",
        "The distances use simple descriptors and say nothing about anatomy beyond them.",
        "No memorisation check is part of this report.",
    ]
    summary = found.summary
    if summary is None:
        return ["The study is missing.", *limits]
    if len(summary["seeds"]) == 1:
        limits.insert(0, "One seed: the interval says nothing about other subsets or trainings.")
    limits.insert(0, f"The test has {summary['num_test_subjects']} subjects of one data set.")
    return limits
