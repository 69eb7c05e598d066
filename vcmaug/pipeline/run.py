"""Runs of a recipe: everything up to its report, its gates, or one cohort."""

from pathlib import Path
from typing import Any

from vcmaug.compute import Compute
from vcmaug.pipeline.artefact import Run, Say, make_all
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.work import Replicate, Work
from vcmaug.progress import Report, silent

__all__ = ["draw_cohort", "run_gates", "run_recipe"]


def run_recipe(work: Work, *, compute: Compute, say: Say, report: Report = silent) -> Path:
    """Make everything that a recipe's report shows, and return its path.

    Args:
        work: The work folder.
        compute: Where conditions and cohorts are made, and the study's networks trained.
        say: Told after every artefact.
        report: Told within the long ones.
    """
    page = Graph(work).report
    page.make(Run(compute, say, report))
    return page.load()


def run_gates(work: Work, *, compute: Compute, say: Say, report: Report = silent) -> dict[str, Any]:
    """Measure all gates of a recipe, and return what WORK/gates.json holds."""
    gates = Graph(work).gates
    gates.make(Run(compute, say, report))
    return gates.load()


def draw_cohort(
    work: Work, replicate: Replicate, *, compute: Compute, say: Say, report: Report = silent
) -> None:
    """Make the cohort of a replicate, all that leads to it, and its evaluation."""
    make_all([Graph(work).evaluation(replicate)], Run(compute, say, report))
