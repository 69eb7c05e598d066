"""Copy what a run measured into its recipe: gates, study, adherence, and the learning curve.

python docs/publish_results.py work/hippocampus recipes/hippocampus/results
python docs/publish_results.py --again recipes/hippocampus/results

Whatever is not there yet is left out; nothing is typed in. `--again` computes means, differences
and intervals anew from the scores that lie in the results, by the rules of this version, and prints
the differences.
"""

import itertools
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from vcmaug.arms.base import Arm, Need
from vcmaug.data.splits import labelled_subset, read_splits
from vcmaug.downstream.results import PriorLabels, read_summary, write_summary
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.summary import summarised
from vcmaug.files import write_json, write_text
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.report.figures import difference_plot, mean_plot

COPIED = {
    "gates.json": "gates.json",
    "gates/samples.png": "samples.png",
    "study/summary.json": "study.json",
    "study/scores.csv": "scores.csv",
}
INK = "#57606a"  # readable on white and on black


def main() -> None:
    """Copy what a run measured, or compute it anew from published scores."""
    first, out = sys.argv[1], Path(sys.argv[2])
    if first == "--again":
        again(out)
        return
    copy(Path(first), out)
    if (out / "study.json").exists():
        curves(out)


def again(out: Path) -> None:
    """Compute the summary of published scores anew; what only the run knows stays."""
    old, scores = read_summary(out / "study.json"), pd.read_csv(out / "scores.csv")
    arms = {str(name): Arm.of_result(str(name)) for name in scores.arm.unique()}
    new = summarised(
        scores,
        (),
        settings=StudySettings(
            num_labelled=old.num_labelled, seeds=old.seeds, scored_on=old.scored_on
        ),
        arms={name: arm().data_of({}) for name, arm in arms.items() if arm is not None},
        structures=old.structures,
        num_test_subjects=old.num_test_subjects,
        num_replicates=len(old.seeds),
    )
    kept = ("means", "differences", "gap_closed", "interval", "num_replicates")
    summary = replace(
        old,
        **{name: getattr(new, name) for name in kept},
        prior_labels=tuple(labels_of_prior(out.parent / "recipe.yaml", old.prior_labels, arms)),
    )
    summary = replace(summary, notes=tuple(map(str, summary.prior_labels)))
    write_summary(out / "study.json", summary)
    curves(out)
    for row in summary.differences:
        if row.metric == summary.headline.name:
            mean, low, high = summary.rounded(row, "+")
            what = f"{row.arm} | {row.against} | {row.num_labelled}"
            print(f"| {what} | {mean} [{low}, {high}] | {summary.verdict(row)} |")


def labels_of_prior(
    path: Path, known: Sequence[PriorLabels], arms: Mapping[str, type[Arm] | None]
) -> Sequence[PriorLabels]:
    """Return the labels by scalars that arms of a recipe have of the prior that it brings."""
    os.environ.setdefault("VCMAUG_DATA", "data")
    recipe = read_recipe(path)
    source, splits = recipe.prior.source, recipe.splits.file
    if known or source is None or splits is None:
        return known
    card, roles = read_card(source, PriorCard), read_splits(splits)
    beyond: set[str] = set()
    for n, seed in itertools.product(recipe.study.num_labelled, recipe.study.seeds):
        beyond |= {*card.seen.labels} - {*labelled_subset(roles, num_labelled=n, seed=seed)}
    scalars, of_study = card.spec.measured_scalars, beyond & {*roles.train}
    return [
        PriorLabels(name, scalars, len(beyond), len(of_study))
        for name, arm in arms.items()
        if scalars and arm is not None and Need.COHORT in arm.needs
    ]


def copy(work: Path, out: Path) -> None:
    """Copy files, and gather adherence."""
    out.mkdir(parents=True, exist_ok=True)
    for source, target in COPIED.items():
        if (work / source).exists():
            shutil.copyfile(work / source, out / target)
    found = {
        "/".join(path.relative_to(work / "replicates").parts[:-2]): json.loads(path.read_text())
        for path in sorted(work.glob("replicates/**/quality/quality.json"))
    }
    kept = ("num_synthetic", "num_real", "adherence", "distances", "memorisation", "missing")
    if found:
        content = {name: {key: one[key] for key in kept} for name, one in found.items()}
        write_json(out / "quality.json", content)


def curves(out: Path) -> None:
    """Draw the curves of a published summary."""
    summary = read_summary(out / "study.json")
    for name, plot in (("learning-curve", mean_plot), ("differences", difference_plot)):
        write_text(out / f"{name}.svg", plot(summary).replace("currentColor", INK))


if __name__ == "__main__":
    main()
