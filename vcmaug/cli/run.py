"""`vcmaug run`: all stages of a recipe."""

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

__all__ = ["run_command"]


def run_command(
    recipe: RecipePath,
    gpus: Gpus = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Go the whole way, from cases to report; a stage whose inputs are unchanged is skipped.

    Example: vcmaug run recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.run import run_recipe, stages_of
    from vcmaug.pipeline.work import Work

    compute = chosen_compute(gpus=gpus, workers=workers, scheduler=scheduler)
    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    if seed is not None:
        work = Work(work.folder, work.recipe.model_copy(update={"seed": seed}))
    if dry_run:
        show_plan(
            f"go through {'; '.join(stages_of(work))} in {work.folder}, cohorts {compute}",
            **work.recipe.model_dump(mode="json"),
        )
        return
    with progress() as report:
        path = run_recipe(work, compute=compute, say=_say_stage, report=report)
    say(f"Look at {path}")


def _say_stage(name: str, ran: bool) -> None:
    """Say that a stage is done."""
    say(f"{name}: {'done' if ran else 'unchanged, kept'}")
