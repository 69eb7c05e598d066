"""`vcmaug downstream-eval`: real-only against real + synthetic."""

from typing import TYPE_CHECKING

from vcmaug.cli.console import say
from vcmaug.cli.options import ComputeOptions, RecipeOptions, make_or_show, spread

if TYPE_CHECKING:
    from vcmaug.downstream.results import Summary
    from vcmaug.downstream.statistics import Estimate

__all__ = ["downstream_eval_command"]


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
    made = make_or_show(study, dry_run=options.dry_run, as_json=options.as_json, compute=compute)
    if made is not None:
        _say_outcome(study.load())
        say(f"The study is in {study.folder}.")


def _say_outcome(summary: "Summary") -> None:
    """Say the means and the differences of the headline."""
    headline = summary.headline
    for mean in summary.means:
        if mean.metric == headline.name:
            say(_line(f"{mean.arm}, n = {mean.num_labelled}: {headline.title}", mean))
    for row in summary.differences:
        if row.metric == headline.name:
            say(_line(f"{row.arm} - {row.against}, n = {row.num_labelled}:", row, "+"))


def _line(name: str, row: "Estimate", sign: str = "") -> str:
    """Return a mean with its interval as a line."""
    values = [format(value, f"{sign}.4f") for value in (row.mean, row.low, row.high)]
    return f"{name} {values[0]} [{values[1]}, {values[2]}]"
