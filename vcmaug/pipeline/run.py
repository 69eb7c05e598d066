"""`run`: all stages of a recipe in their order, and what the arms of its study need."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from vcmaug.arms.base import Need
from vcmaug.compute import Compute
from vcmaug.pipeline.arms import arm_stage
from vcmaug.pipeline.pool import pseudo_stage, teachers_stage
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

Say = Callable[[str, bool], None]
"""(stage, whether it ran) -> None."""

_DRAWN = (Need.CONTROL, Need.CONDITIONS, Need.COHORT)
_NAMES: Mapping[Need, tuple[str, ...]] = {
    Need.TEACHER: (),
    Need.POOL: ("pseudo-labels",),
    Need.CONTROL: ("control",),
    Need.CONDITIONS: ("conditions",),
    Need.COHORT: ("cohort", "evaluation"),
}


def stages_of(work: Work) -> list[str]:
    """Return what a run of the recipe goes through, in words."""
    study, recipe = work.recipe.study, work.recipe.prior
    made = [name for need in _needs(work) for name in _NAMES[need]]
    made += [arm.name for arm in study.arms if arm.makes_data()]
    replicates = [f"{one.name}: {', '.join(made)}" for one in work.replicates] if made else []
    prior = f"prior from the zoo: {recipe.zoo}" if recipe.zoo else "prior"
    prior += f" from {recipe.folder}" if recipe.folder else ""
    priors = [prior] if Need.CONTROL in _needs(work) else []
    trainings = len(study.arms) * len(study.num_labelled) * len(study.seeds)
    return ["cases", *priors, *replicates, f"study: {trainings} trainings", "report"]


def _needs(work: Work) -> list[Need]:
    """Return what any arm of a study needs, in the order of making."""
    needs = frozenset[Need]().union(*(arm.needs for arm in work.recipe.study.arms))
    return [need for need in Need if need in needs]


def draw_cohort(
    work: Work, replicate: Replicate, *, compute: Compute, say: Say, report: Report = silent
) -> None:
    """Run what leads to the cohort of a replicate, and its evaluation."""
    _make(work, replicate, _DRAWN, compute=compute, say=say, report=report)


def _make(
    work: Work,
    replicate: Replicate,
    needs: Iterable[Need],
    *,
    compute: Compute,
    say: Say,
    report: Report,
) -> None:
    """Make what is needed of a replicate; the teachers of all replicates are there."""
    stages: Mapping[str, Callable[[], bool]] = {
        "pseudo-labels": lambda: pseudo_stage(work, replicate, report=report),
        "control": lambda: control_stage(work, replicate, report=report),
        "conditions": lambda: conditions_stage(work, replicate, compute=compute, report=report),
        "cohort": lambda: generate_stage(work, replicate, compute=compute, report=report),
        "evaluation": lambda: evaluate_stage(work, replicate, report=report),
    }
    for need in needs:
        for name in _NAMES[need]:
            say(f"{replicate.name} {name}", stages[name]())


def run_recipe(work: Work, *, compute: Compute, say: Say, report: Report = silent) -> Path:
    """Run all stages of a recipe and return the path of its report.

    Args:
        work: The work folder.
        compute: Where conditions and cohorts are made, and the study's networks trained.
        say: Told after every stage.
        report: Told within the long ones.
    """
    say("cases", prepare_stage(work, report=report))
    needs = _needs(work)
    if Need.CONTROL in needs:
        say("prior", prior_stage(work, report=report))
    if Need.TEACHER in needs:
        teachers_stage(work, compute=compute, report=report)
    for replicate in work.replicates:
        _prepare_arms(work, replicate, compute=compute, say=say, report=report)
    study_stage(work, compute=compute, report=report)
    say("study", True)
    path = write_report(work.folder)
    say("report", True)
    return path


def _prepare_arms(
    work: Work, replicate: Replicate, *, compute: Compute, say: Say, report: Report
) -> None:
    """Make what the arms of a study train on in one replicate; each thing once."""
    made: dict[str, Collection[Need]] = {}
    for arm in work.recipe.study.arms:
        variant = arm.variant(replicate)
        known = made.get(variant.name, ())
        needs = [need for need in Need if need in arm.needs and need not in known]
        _make(work, variant, needs, compute=compute, say=say, report=report)
        made[variant.name] = {*known, *needs}
        if arm.makes_data():
            ran = arm_stage(work, replicate, arm, report=report)
            say(f"{replicate.name} {arm.name}", ran)
