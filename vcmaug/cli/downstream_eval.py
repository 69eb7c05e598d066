"""`vcmaug downstream-eval`: real-only against real + synthetic."""

from typing import TYPE_CHECKING

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    Gpus,
    Out,
    Profile,
    RecipePath,
    Scheduler,
    Seed,
    Workers,
    chosen_compute,
    open_work,
    show_plan,
)

if TYPE_CHECKING:
    from vcmaug.downstream.statistics import Estimate

__all__ = ["downstream_eval_command"]


def downstream_eval_command(
    recipe: RecipePath,
    gpus: Gpus = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Train segmentation networks with and without the cohorts, and score them on test subjects.

    The cohort of every (n, seed) must be there; a cohort that has seen a test subject is refused.

    Example: vcmaug downstream-eval recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.stages import study_stage
    from vcmaug.pipeline.work import Work

    compute = chosen_compute(gpus=gpus, workers=workers, scheduler=scheduler)
    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    if seed is not None:
        study = work.recipe.study.model_copy(update={"seeds": (seed,)})
        work = Work(work.folder, work.recipe.model_copy(update={"study": study}))
    if dry_run:
        options = work.recipe.study.model_dump(mode="json")
        show_plan(f"run the study in {work.study}, trainings {compute}", **options)
        return
    with progress() as report:
        summary = study_stage(work, compute=compute, report=report)
    headline = summary.headline
    for mean in summary.means:
        if mean.metric == headline.name:
            say(_line(f"{mean.arm}, n = {mean.num_labelled}: {headline.title}", mean))
    for row in summary.differences:
        if row.metric == headline.name:
            say(_line(f"{row.arm} - {row.against}, n = {row.num_labelled}:", row, "+"))
    say(f"The study is in {work.study}.")


def _line(name: str, row: "Estimate", sign: str = "") -> str:
    """Return a mean with its interval as a line."""
    values = [format(value, f"{sign}.4f") for value in (row.mean, row.low, row.high)]
    return f"{name} {values[0]} [{values[1]}, {values[2]}]"
