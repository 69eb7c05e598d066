"""`write_report`: everything in a work folder as one HTML file that opens offline.

The sections are filled from `tables` and `figures`; the template lies beside this file.
"""

import json
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from vcmaug.cohort.manifest import finished
from vcmaug.data.labels import LabelScheme
from vcmaug.files import write_text
from vcmaug.report.figures import difference_plot, mean_plot, montage
from vcmaug.report.sections import drawing_tables, quality_tables, study_tables
from vcmaug.report.tables import (
    Found,
    ReplicateFound,
    Table,
    find,
    flow_of,
    headline_of,
    num_labelled,
    table_of,
)
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
    target = out or found.layout.report
    environment = Environment(
        loader=PackageLoader("vcmaug.report", "."), autoescape=True, undefined=StrictUndefined
    )
    simulated = found.recipe["recipe"].get("simulated")
    said = f" (simulated: {simulated})" if simulated else ""
    page = environment.get_template("report.html.j2").render(
        title=found.recipe["title"] or found.recipe["name"],
        name=found.recipe["name"],
        profile=found.recipe["profile"],
        caveat=found.recipe["recipe"].get("caveat", ""),
        headline=headline_of(found),
        flow=flow_of(found),
        legend=[] if found.prepare is None else found.prepare["scheme"],
        sides=_sides(found),
        montages=[(caption + said, png) for caption, png in _montages(found, seed=seed)],
        quality=quality_tables(found),
        plots=[(caption + said, svg) for caption, svg in _plots(found)],
        study=study_tables(found),
        manifests=drawing_tables(found)
        + [_manifest(r.name, r.manifest) for r in found.replicates if r.manifest is not None],
        provenance=_provenance(found),
        limits=_limits(found),
    )
    write_text(target, page)
    return target


def _montages(found: Found, *, seed: int) -> list[tuple[str, str | None]]:
    """Return (caption, PNG or None) per montage."""
    cases = found.cases
    if found.prepare is None or cases is None:
        return [("Real and synthetic volumes: missing, since no case is prepared.", None)]
    scheme = LabelScheme.from_json(found.prepare["scheme"])
    shown = [
        ("Real cases, chosen at random, with their label maps", _real(found, cases, seed=seed))
    ]
    drawn = [(r, r.manifest) for r in found.replicates if r.manifest is not None]
    if not drawn:
        return [(shown[0][0], montage(shown[0][1], scheme)), ("Synthetic cases: missing.", None)]
    shown += _synthetic(*drawn[0], seed=seed)
    return [(caption, montage(files, scheme) if files else None) for caption, files in shown]


def _sides(found: Found) -> str:
    """Return where the patient's left is in coronal and axial slices."""
    grid = {} if found.prepare is None else found.prepare.get("settings", {}).get("grid", {})
    sides = {"R": "The patient's left is on the left.", "L": "The patient's left is on the right."}
    return sides.get(grid.get("orientation", " ")[0], "")


def _real(found: Found, cases: pd.DataFrame, *, seed: int) -> list[tuple[str, Path, Path]]:
    """Return some labelled training cases, by hash."""
    folder = found.layout.cases
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
    replicate: ReplicateFound, manifest: pd.DataFrame, *, seed: int
) -> list[tuple[str, list[tuple[str, Path, Path]]]]:
    """Return random, best and worst synthetic cases with their captions."""
    done = finished(manifest).set_index("case_id")
    by_hash = sorted(done.index, key=lambda name: stable_seed(seed, str(name)))
    shown = [(f"Synthetic cases ({replicate.name}), chosen at random", by_hash[:_SHOWN])]
    dice = pd.Series(dtype=float)
    if replicate.adherence is not None and not replicate.adherence.empty:
        own = replicate.adherence[replicate.adherence["source"] == "synthetic"]
        dice = own.groupby("case_id")["dice"].mean().sort_values()
        shown.append(("Synthetic cases of best adherence", list(dice.index[::-1][:_SHOWN])))
        shown.append(("Synthetic cases of worst adherence", list(dice.index[:_SHOWN])))
    folder = replicate.layout.cohort
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


def _plots(found: Found) -> list[tuple[str, str]]:
    """Return (caption, SVG) per plot of the study."""
    if found.summary is None:
        return []
    headline = found.summary.headline.title
    plots = [(f"Mean {headline} on test subjects, 95 % intervals", mean_plot(found.summary))]
    if found.summary.differences:
        caption = "Paired difference from real only, 95 % intervals"
        plots.append((caption, difference_plot(found.summary)))
    return plots


def _manifest(name: str, manifest: pd.DataFrame) -> Table:
    """Return the first rows of a manifest, its main columns."""
    counts = ", ".join(f"{n} {status}" for status, n in manifest["status"].value_counts().items())
    rows = [{str(k): v for k, v in row.items()} for row in manifest.head(20).to_dict("records")]
    for row in rows:
        ids = row["source_case_ids"]  # JSON in older manifests
        row["source_case_ids"] = ", ".join(json.loads(ids) if isinstance(ids, str) else ids)
        row["image_sha256"] = row["image_sha256"][:12]
    caption = f"{name}: {counts}; the first {len(rows)} rows of manifest.parquet"
    return table_of(caption, rows, _MANIFEST_COLUMNS)


def _provenance(found: Found) -> Table:
    """Return where the data, the models and the numbers come from."""
    facts = {"data": found.recipe["recipe"].get("data_note") or "not stated"}
    if found.prior is not None:
        parameters = sum(found.prior["num_parameters"].values())
        facts |= {
            "prior": f"{found.prior['name']}, {parameters:,} parameters",
            "prior, sha256": found.prior["weights_sha256"],
            "prior, licence": found.prior.get("licence") or "not stated",
            "prior, data": found.prior.get("data") or "not stated",
        }
    for replicate in found.replicates:
        facts |= _facts_of(replicate)
    if found.summary is not None:
        summary = found.summary
        facts |= {
            "study, seconds": f"{summary.seconds:.0f}",
            "study, share of augmentation": f"{100 * summary.augmentation_share:.0f} %",
            "machine of the study": ", ".join(f"{k} {v}" for k, v in summary.machine.items()),
            "versions": ", ".join(f"{name} {v}" for name, v in summary.versions.items()),
        }
    rows = [{"what": what, "value": value} for what, value in facts.items()]
    return table_of("Files, hashes, licences, versions", rows, {"what": "what", "value": "value"})


def _facts_of(replicate: ReplicateFound) -> dict[str, str]:
    """Return what is known of a replicate's control and cohort."""
    facts = {}
    if replicate.control is not None:
        control = replicate.control
        text = f"{control['num_parameters']:,} parameters"
        text += f", {num_labelled(control)} labelled subjects"
        start = control.get("started_from")
        text += f", started from {start}" if start else ""
        facts[f"{replicate.name}, control"] = text
        facts[f"{replicate.name}, control, sha256"] = control["weights_sha256"]
        facts[f"{replicate.name}, control, licence"] = control.get("licence") or "not stated"
    if replicate.manifest is not None:
        devices = " and ".join(sorted(replicate.manifest["device"].astype(str).unique()))
        spent = replicate.manifest["seconds"].mean()
        facts[f"{replicate.name}, cohort"] = f"drawn on {devices}, {spent:.2f} s per case"
    return facts


def _limits(found: Found) -> list[str]:
    """Return what the page does not show."""
    caveat = found.recipe["recipe"].get("caveat")
    limits = [caveat] if caveat else []
    summary = found.summary
    if summary is None:
        limits.append("The study is missing.")
    else:
        limits.append(f"The test has {summary.num_test_subjects} subjects of one data set.")
        if len(summary.seeds) == 1:
            limits.append("One seed: the interval says nothing of other subsets or trainings.")
        limits.append(
            "Both arms had the same updates, network and augmentation; other choices of these may "
            "change the difference."
        )
    return [
        *limits,
        "Adherence is what one segmenter sees; it shares that network's blind spots.",
        "The distances use simple descriptors and say nothing about anatomy beyond them.",
        "The memorisation check sees copies only as far as simple descriptors do: treat a cohort "
        "as you would treat the data it came from.",
        "Nothing here is a clinical evaluation.",
    ]
