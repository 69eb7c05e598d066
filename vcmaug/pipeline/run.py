"""`run`: all stages of a recipe in their order, and what each of them did.

What it is: the chain, and the study's controls and cohorts per (n, seed).
In the flow: the one command that goes the whole way.
Sources: none.
"""

from collections.abc import Callable
from pathlib import Path

from vcmaug.compute import Compute
from vcmaug.downstream.arms import uses_pool
from vcmaug.pipeline.pool import pseudo_stage, teachers_stage
from vcmaug.pipeline.rivals import FOR_CONDITIONS, RIVALS, rival_stage
from vcmaug.pipeline.stages import (
    conditions_stage,
    control_stage,
    evaluate_stage,
    generate_stage,
    prepare_stage,
    prior_stage,
    study_stage,
)
from vcmaug.pipeline.work import Replicate, Work
from vcmaug.progress import Report, silent
from vcmaug.report.document import write_report

__all__ = ["draw_cohort", "run_recipe", "stages_of"]

_DRAWN = {"real+synthetic", "real+synthetic+pool"}
"""Arms that need the prior."""

Say = Callable[[str, bool], None]
"""(stage, whether it ran) -> None."""


def stages_of(work: Work) -> list[str]:
    """Return what a run of the recipe goes through, in words."""
    replicates = [f"{r.name}: control, conditions, cohort, evaluation" for r in work.replicates]
    study = work.recipe.study
    trainings = len(study.arms) * len(study.num_labelled) * len(study.seeds)
    recipe = work.recipe.prior
    prior = f"prior from the zoo: {recipe.zoo}" if recipe.zoo else "prior"
    prior += f" from {recipe.folder}" if recipe.folder else ""
    return ["cases", prior, *replicates, f"study: {trainings} trainings", "report"]


def draw_cohort(
    work: Work, replicate: Replicate, *, compute: Compute, say: Say, report: Report = silent
) -> None:
    """Run what leads to the cohort of a replicate, and its evaluation."""
    say(f"{replicate.name} control", control_stage(work, replicate, report=report))
    made = conditions_stage(work, replicate, compute=compute, report=report)
    say(f"{replicate.name} conditions", made)
    drawn = generate_stage(work, replicate, compute=compute, report=report)
    say(f"{replicate.name} cohort", drawn)
    say(f"{replicate.name} evaluation", evaluate_stage(work, replicate, report=report))


def run_recipe(work: Work, *, compute: Compute, say: Say, report: Report = silent) -> Path:
    """Run all stages of a recipe and return the path of its report.

    Args:
        work: The work folder.
        compute: Where conditions and cohorts are made, and the study's networks trained.
        say: Told after every stage.
        report: Told within the long ones.
    """
    say("cases", prepare_stage(work, report=report))
    arms = work.recipe.study.arms
    if _DRAWN & {*arms}:
        say("prior", prior_stage(work, report=report))
    with_pool = any(uses_pool(arm) for arm in arms)
    if with_pool:
        teachers_stage(work, compute=compute, report=report)
    for replicate in work.replicates:
        if with_pool:
            done = pseudo_stage(work, replicate, report=report)
            say(f"{replicate.name} pseudo-labels", done)
        if "real+synthetic" in arms:
            draw_cohort(work, replicate, compute=compute, say=say, report=report)
        if {*FOR_CONDITIONS} & {*arms}:
            conditions_stage(work, replicate, compute=compute, report=report)
        for arm in (arm for arm in arms if arm in RIVALS):
            say(f"{replicate.name} {arm}", rival_stage(work, replicate, arm, report=report))
        if "real+synthetic+pool" in arms:
            draw_cohort(work, replicate.with_pool, compute=compute, say=say, report=report)
    study_stage(work, compute=compute, report=report)
    say("study", True)
    path = write_report(work.folder)
    say("report", True)
    return path
