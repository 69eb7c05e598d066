"""`vcmaug evaluate`: does the image fit its label, and how far is it from real."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import say
from vcmaug.cli.options import AsJson, DryRun, make_or_show
from vcmaug.errors import FaultyDataSet, WorkFolderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcmaug.pipeline.work import Replicate, Work
    from vcmaug.quality.metrics.base import Metric
    from vcmaug.quality.results import Quality

__all__ = ["evaluate_command"]


def evaluate_command(
    cohort: Annotated[
        Path, typer.Argument(metavar="COHORT", help="WORK/replicates/n10-s0/cohort.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Work folder, where it is not above COHORT.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the independent evaluator's training.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Check every file of a cohort, then measure adherence and distance from real images.

    Example: vcmaug evaluate work/hippocampus/replicates/n10-s0/cohort
    """
    from vcmaug.cohort.check import check_cohort
    from vcmaug.pipeline.asked import with_cohort_as_asked
    from vcmaug.pipeline.graph import Graph

    work, replicate = _place_of(cohort.resolve(), out)
    asked = with_cohort_as_asked(work, replicate).seeded(seed)
    evaluation = Graph(asked).evaluation(replicate)
    state = evaluation.cohort.state()
    if not state.is_there:
        raise WorkFolderError(
            f"evaluating {cohort}: the recipe's cohort is {state}. Run `vcmaug generate` first."
        )
    faults = [] if dry_run else check_cohort(cohort)
    if faults:
        raise FaultyDataSet(
            f"checking {cohort}",
            faults,
            advice="Run `vcmaug generate` with --verify to redraw the faulty cases.",
        )
    if make_or_show(evaluation, dry_run=dry_run, as_json=as_json) is not None:
        _say_figures(evaluation.load(), work.recipe.metrics)
        say(f"The evaluation is in {evaluation.folder}.")


def _place_of(cohort: Path, out: Path | None) -> "tuple[Work, Replicate]":
    """Return the work folder and the replicate that a cohort belongs to.

    Raises:
        WorkFolderError: There is none.
    """
    from vcmaug.data.work_layout import WorkLayout
    from vcmaug.pipeline.work import find_work

    roots = [out.resolve()] if out else list(cohort.parents)
    root = next((one for one in roots if WorkLayout(one).recipe_file.exists()), None)
    replicate = None if root is None else WorkLayout(root).replicate_at(cohort)
    if root is None or replicate is None or replicate.cohort != cohort:
        raise WorkFolderError(
            f"evaluating {cohort}: no work folder above it (one that holds recipe.json), or it is "
            "no cohort of one of its replicates. Name the work folder with --out."
        )
    return find_work(root), replicate


def _say_figures(quality: "Quality", metrics: "Sequence[Metric]") -> None:
    """Say what was measured."""
    for metric in metrics:
        for line in metric.lines(quality.rows(metric.section)):
            say(line)
