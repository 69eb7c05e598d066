"""What cohorts are worth: `vcmaug evaluate`, `gates`, `downstream-eval`, `report` and `run`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import say
from vcmaug.cli.options import (
    ComputeOptions,
    DryRun,
    RecipeOptions,
    ShowOptions,
    make_or_show,
    spread,
)
from vcmaug.errors import FaultyDataSet, WorkFolderError

if TYPE_CHECKING:
    from vcmaug.downstream.results import Summary
    from vcmaug.pipeline.work import Replicate, Work

__all__ = [
    "downstream_eval_command",
    "evaluate_command",
    "gates_command",
    "report_command",
    "run_command",
]


@spread
def evaluate_command(
    show: ShowOptions,
    cohort: Annotated[
        Path, typer.Argument(metavar="COHORT", help="WORK/replicates/n10-s0/cohort.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Work folder, where it is not above COHORT.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the independent evaluator's training.")
    ] = None,
) -> None:
    """Check every file of a cohort, then measure adherence and distance from real images.

    Example: vcmaug evaluate work/hippocampus/replicates/n10-s0/cohort
    """
    from vcmaug.cohort.check import check_cohort
    from vcmaug.pipeline.graph import Graph, with_cohort_as_asked

    work, replicate = _place_of(cohort.resolve(), out)
    asked = with_cohort_as_asked(work, replicate).seeded(seed)
    evaluation = Graph(asked).evaluation(replicate)
    state = evaluation.cohort.state()
    if not state.is_there:
        raise WorkFolderError(
            f"evaluating {cohort}: the recipe's cohort is {state}. Run `vcmaug generate` first."
        )
    faults = [] if show.dry_run else check_cohort(cohort)
    if faults:
        raise FaultyDataSet(
            f"checking {cohort}",
            faults,
            advice="Run `vcmaug generate` with --verify to redraw the faulty cases.",
        )
    if make_or_show(evaluation, show) is not None:
        quality = evaluation.load()
        for metric in work.recipe.metrics:
            for line in metric.lines(quality.rows(metric.section)):
                say(line)
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


@spread
def gates_command(options: RecipeOptions, where: ComputeOptions) -> None:
    """Measure, in this order and on validation subjects, what a study stands on.

    Is the segmenter at its plateau? Does the autoencoder keep what it needs? Are the prior's
    samples real? Do drawn images fit their labels? The first gate that fails names the cause.

    Example: vcmaug gates recipes/hippocampus/recipe.yaml
    """
    from vcmaug.pipeline.graph import Graph

    compute = where.resolved()
    gates = Graph(options.open_work().changed(gates={"seed": options.seed})).gates
    made = make_or_show(gates, options, compute=compute)
    if made is not None:
        say(f"The figures are in {gates.folder}")


@spread
def downstream_eval_command(options: RecipeOptions, where: ComputeOptions) -> None:
    """Train segmentation networks with and without the cohorts, and score them on test subjects.

    What the arms train on is made where it is missing; a cohort that has seen a test subject is
    refused.

    Example: vcmaug downstream-eval recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.graph import Graph

    compute = where.resolved()
    seeds = None if options.seed is None else (options.seed,)
    study = Graph(options.open_work().changed(study={"seeds": seeds})).study
    made = make_or_show(study, options, compute=compute)
    if made is not None:
        _say_outcome(study.load())
        say(f"The study is in {study.folder}.")


def _say_outcome(summary: "Summary") -> None:
    """Say the means and the differences of the headline, and what must be known to read them."""
    headline = summary.headline
    for mean in summary.means:
        if mean.metric == headline.name:
            name = f"{mean.arm}, n = {mean.num_labelled}: {headline.title}"
            say(_line(name, summary.rounded(mean)))
    for row in summary.differences:
        if row.metric == headline.name:
            name = f"{row.arm} - {row.against}, n = {row.num_labelled}:"
            say(f"{_line(name, summary.rounded(row, '+'))}; {summary.verdict(row)}")
    for note in summary.notes:
        say(note)
    for name, group in summary.groups.items():
        say(f"Group {name}, {group.num_test_subjects} subjects:")
        _say_outcome(replace(group, notes=()))


def _line(name: str, figures: tuple[str, str, str]) -> str:
    """Return a mean with its interval as a line."""
    mean, low, high = figures
    return f"{name} {mean} [{low}, {high}]"


def report_command(
    work: Annotated[Path, typer.Argument(metavar="WORK", help="Work folder of a recipe.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file. Default: WORK/report.html.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random cases shown.")] = 0,
    dry_run: DryRun = False,
) -> None:
    """Write one HTML file that opens offline; what is missing in WORK is said to be missing.

    Example: vcmaug report work/hippocampus
    """
    from vcmaug.data.work_layout import WorkLayout

    layout = WorkLayout(work)
    layout.about()
    target = out or layout.report
    if dry_run:
        say(f"would write {target}")
        return
    from vcmaug.report.document import write_report

    say(f"The report is {write_report(work, target, seed=seed)}.")


@spread
def run_command(options: RecipeOptions, where: ComputeOptions) -> None:
    """Go the whole way, from cases to report; a stage whose inputs are unchanged is skipped.

    Example: vcmaug run recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.graph import Graph

    compute = where.resolved()
    page = Graph(options.open_work().seeded(options.seed)).report
    made = make_or_show(page, options, compute=compute)
    if made is not None:
        say(f"Look at {page.folder}")
