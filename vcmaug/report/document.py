"""`write_report`: everything in a work folder as one HTML file that opens offline.

The sections are filled from `tables`, `study` and `figures`; the template lies beside this file.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from vcmaug.cohort.manifest import finished
from vcmaug.downstream.results import Summary
from vcmaug.files import locked_file, write_text
from vcmaug.outputs import refuse_overlap
from vcmaug.report.figures import difference_plot, mean_plot, montage
from vcmaug.report.found import Found, ReplicateFound, find
from vcmaug.report.study import headline_of, study_tables
from vcmaug.report.tables import (
    Table,
    drawing_tables,
    listed,
    manifest_table,
    quality_tables,
    table_of,
)
from vcmaug.seeding import stable_seed

__all__ = ["flow_of", "write_report"]

_SHOWN = 5
_SIDES = {"R": "The patient's left is on the left.", "L": "The patient's left is on the right."}

Files = list[tuple[str, Path, Path]]
"""Caption, image and label map of each case of a montage."""


def write_report(work: Path, out: Path | None = None, *, seed: int = 0) -> Path:
    """Write the report of a work folder and return its path.

    Args:
        work: A work folder; whatever is missing in it is said to be missing.
        out: The HTML file, or None for WORK/report.html.
        seed: Of the random cases shown; cases are chosen by a hash, not by eye.

    Raises:
        WorkFolderError: It is no work folder, or the file is one of those that are read.
    """
    found = find(work)
    target = out or found.layout.report
    reads = [path for path in work.iterdir() if path.is_dir() or path.suffix == ".json"]
    refuse_overlap(f"reporting on {work}", writes=[target], reads=reads)
    recipe, prepared = found.recipe, found.prepared
    said = f" (simulated: {recipe.simulated})" if recipe.simulated else ""
    manifests = [(one.name, one.manifest) for one in found.replicates if one.manifest is not None]
    environment = Environment(
        loader=PackageLoader("vcmaug.report", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=recipe.title or recipe.name,
        name=recipe.name,
        profile=recipe.profile,
        caveat=recipe.caveat,
        headline=headline_of(found.summary),
        flow=flow_of(found),
        legend=prepared.structures if prepared else (),
        sides=_SIDES.get(prepared.grid.orientation[0], "") if prepared else "",
        montages=[(caption + said, png) for caption, png in _montages(found, seed=seed)],
        quality=quality_tables(found.replicates),
        studies=list(_studies(found, said=said)),
        manifests=drawing_tables(found.replicates)
        + [manifest_table(name, manifest) for name, manifest in manifests],
        provenance=_provenance(found),
        limits=_limits(found),
    )
    with locked_file(target, purpose=f"writing {target.name}"):
        write_text(target, page)
    return target


def flow_of(found: Found) -> list[tuple[str, str, str]]:
    """Return the flow as (step, count, detail), in order; a missing step says so."""
    steps = {
        "cases": ("missing", ""),
        "split": ("missing", "by subject"),
        "prior": ("missing", "frozen diffusion model"),
        "control": ("missing", "one per (n, seed)"),
        "conditions": ("missing", "from the labelled cases only"),
        "cohort": ("missing", "synthetic cases"),
        "study": ("missing", "trainings, scored on the test subjects"),
    }
    if (cases := found.cases) is not None:
        labelled = cases[cases["label"].notna()] if "label" in cases else cases[:0]
        subjects, known = cases["subject_id"].nunique(), labelled["subject_id"].nunique()
        few = f", {known} with a label map" if known < subjects else ""
        steps["cases"] = str(len(cases)), f"of {subjects} subjects{few}"
    if (splits := found.splits) is not None:
        held_out = f"{len(splits.validation)} validation, {len(splits.test)} test"
        steps["split"] = str(len(splits.train)), f"train; {held_out}"
    if found.prior is not None:
        steps["prior"] = "1", f"frozen; saw images of {len(found.prior.seen.images)} subjects"
    if seen := [len(one.control.seen.labels) for one in found.replicates if one.control]:
        steps["control"] = str(len(seen)), f"on {listed(set(seen))} labelled subjects"
    if conditions := sum(len(r.conditions) for r in found.replicates if r.conditions is not None):
        steps["conditions"] = str(conditions), steps["conditions"][1]
    if manifests := [one.manifest for one in found.replicates if one.manifest is not None]:
        drawn = sum(len(finished(manifest)) for manifest in manifests)
        failed = sum(map(len, manifests)) - drawn
        steps["cohort"] = str(drawn), f"synthetic cases; {failed or 'none'} failed"
    if found.summary is not None:
        steps["study"] = str(len(found.summary.runs)), steps["study"][1]
    return [(step, count, detail) for step, (count, detail) in steps.items()]


def _montages(found: Found, *, seed: int) -> Iterator[tuple[str, str | None]]:
    """Yield (caption, PNG or None) per montage."""
    if found.prepared is None or found.cases is None:
        yield "Real and synthetic volumes: missing, since no case is prepared.", None
        return
    scheme = found.prepared.scheme
    real = _real(found, found.cases, seed=seed)
    shown = [("Real cases, chosen at random, with their label maps", real)]
    drawn = next((one for one in found.replicates if one.manifest is not None), None)
    if drawn is None or drawn.manifest is None:
        shown.append(("Synthetic cases: missing.", []))
    else:
        shown += _synthetic(drawn, drawn.manifest, seed=seed)
    for caption, files in shown:
        yield caption, montage(files, scheme) if files else None


def _real(found: Found, cases: pd.DataFrame, *, seed: int) -> Files:
    """Return some labelled training cases, by hash."""
    if found.splits is not None:
        cases = cases[cases["subject_id"].astype(str).isin(found.splits.train)]
    labelled = cases[cases["label"].notna()] if "label" in cases else cases[:0]
    table = labelled.set_index(labelled["case_id"].astype(str))
    return _files(table, _by_hash(table, seed), folder=found.layout.cases)


def _synthetic(
    replicate: ReplicateFound, manifest: pd.DataFrame, *, seed: int
) -> list[tuple[str, Files]]:
    """Return random, best and worst synthetic cases with their captions."""
    done = finished(manifest).set_index("case_id")
    shown = {f"Synthetic cases ({replicate.name}), chosen at random": _by_hash(done, seed)}
    dice = pd.Series(dtype=float)
    if replicate.adherence is not None and not replicate.adherence.empty:
        own = replicate.adherence[replicate.adherence["source"] == "synthetic"]
        dice = own.groupby("case_id")["dice"].mean().sort_values()
        shown["Synthetic cases of best adherence"] = list(dice.index[::-1])
        shown["Synthetic cases of worst adherence"] = list(dice.index)
    said = {name: f"{name}, Dice {value:.2f}" for name, value in dice.items()}
    return [
        (
            caption,
            [
                (said.get(name, name).removeprefix("synthetic-"), image, label)
                for name, image, label in _files(done, names, folder=replicate.layout.cohort)
            ],
        )
        for caption, names in shown.items()
    ]


def _by_hash(table: pd.DataFrame, seed: int) -> list[str]:
    """Return the ids that index a table in an order that the seed decides."""
    return sorted(map(str, table.index), key=lambda name: stable_seed(seed, name))


def _files(table: pd.DataFrame, names: list[str], *, folder: Path) -> Files:
    """Return id, image and label map of the first few of some cases."""
    return [
        (name, folder / str(table.loc[name, "image"]), folder / str(table.loc[name, "label"]))
        for name in names[:_SHOWN]
    ]


def _studies(found: Found, *, said: str) -> Iterator[dict[str, object]]:
    """Yield title, sentences, plots and tables of the study, and of each of its groups."""
    summary, scores = found.summary, found.scores
    yield {
        "title": "The study",
        "sentences": [],
        "plots": [(caption + said, svg) for caption, svg in _plots(summary, "all")],
        "tables": study_tables(summary, scores),
    }
    for name, group in summary.groups.items() if summary is not None else ():
        own = scores[scores["group"] == name] if scores is not None else None
        yield {
            "title": f"The study, group {name}: {group.num_test_subjects} subjects",
            "sentences": headline_of(group)[1:],
            "plots": [(caption + said, svg) for caption, svg in _plots(group, name)],
            "tables": study_tables(group, own),
        }


def _plots(summary: Summary | None, name: str) -> Iterator[tuple[str, str]]:
    """Yield (caption, SVG) per plot of a study; the name is the group's."""
    if summary is None:
        return
    headline, whom = summary.headline.title, f"{summary.scored_on} subjects"
    yield f"Mean {headline} on {whom}, 95 % intervals", mean_plot(summary, name)
    if summary.differences:
        caption = "Paired difference from real only, 95 % intervals"
        yield caption, difference_plot(summary, name)


def _provenance(found: Found) -> Table:
    """Return where the data, the models and the numbers come from."""
    facts = {"data": found.recipe.data_note or "not stated"}
    if (prior := found.prior) is not None:
        facts |= {
            "prior": f"{prior.name}, {prior.total_parameters:,} parameters",
            "prior, sha256": prior.weights_sha256,
            "prior, licence": prior.licence or "not stated",
            "prior, data": prior.data or "not stated",
            "prior, labels": f"{len(prior.seen.labels) or 'none'}, by scalars measured on them",
        }
    for replicate in found.replicates:
        facts |= {f"{replicate.name}, {what}": value for what, value in _facts_of(replicate)}
    if (cost := found.cost) is not None:
        facts |= {
            "study, seconds": f"{cost.seconds:.0f}",
            "study, share of augmentation": f"{100 * cost.augmentation_share:.0f} %",
            "machine of the study": ", ".join(f"{k} {v}" for k, v in cost.machine.items()),
        }
    if (summary := found.summary) is not None:
        facts["versions"] = ", ".join(f"{name} {v}" for name, v in summary.versions.items())
    rows = [{"what": what, "value": value} for what, value in facts.items()]
    return table_of("Files, hashes, licences, versions", rows, {"what": "what", "value": "value"})


def _facts_of(replicate: ReplicateFound) -> Iterator[tuple[str, str]]:
    """Yield what is known of a replicate's control and cohort."""
    if (control := replicate.control) is not None:
        text = f"{control.total_parameters:,} parameters"
        text += f", {len(control.seen.labels)} labelled subjects"
        start = control.started_from
        yield "control", text + (f", started from {start}" if start else "")
        yield "control, sha256", control.weights_sha256
        yield "control, licence", control.licence or "not stated"
    if replicate.manifest is not None:
        devices = " and ".join(sorted(replicate.manifest["device"].astype(str).unique()))
        spent = replicate.manifest["seconds"].mean()
        yield "cohort", f"drawn on {devices}, {spent:.2f} s per case"


def _limits(found: Found) -> list[str]:
    """Return what the page of this folder does not show; the template has what none shows."""
    limits = [found.recipe.caveat] if found.recipe.caveat else []
    summary = found.summary
    if summary is None:
        limits.append("The study is missing.")
    else:
        limits.append(f"The test has {summary.num_test_subjects} subjects of one data set.")
        limits += [str(labels) for labels in summary.prior_labels]
        if len(summary.seeds) == 1:
            limits.append("One seed: the interval says nothing of other subsets or trainings.")
        limits.append(
            "Both arms had the same updates, network and augmentation; other choices of these may "
            "change the difference."
        )
    return limits
