"""`vcmaug generate`: the cohort."""

from typing import Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    Gpus,
    NumLabelled,
    Out,
    Pool,
    Profile,
    RecipePath,
    Scheduler,
    Seed,
    Workers,
    chosen_compute,
    open_work,
    replicate_of,
    show_plan,
)

__all__ = ["generate_command"]


def generate_command(
    recipe: RecipePath,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many cases.")] = None,
    num_labelled: NumLabelled = None,
    pool: Pool = False,
    gpus: Gpus = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Draw a labelled cohort; the same command again draws only what is missing.

    Any number of workers, in any order, killed and repeated, leaves the same files.

    Example: vcmaug generate recipes/hippocampus/recipe.yaml --n 1000 --gpus 4
    """
    from vcmaug.pipeline.stages import generate_stage

    compute = chosen_compute(gpus=gpus, workers=workers, scheduler=scheduler)
    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    replicate = replicate_of(work, num_labelled=num_labelled, seed=seed, pool=pool)
    count = n or work.recipe.generate.n
    if dry_run:
        options = work.recipe.generate.model_dump(mode="json")
        show_plan(f"draw {count} cases into {replicate.cohort} {compute}", **options)
        return
    with progress() as report:
        ran = generate_stage(work, replicate, n=n, compute=compute, report=report)
    say(f"The cohort {'is' if ran else 'was already'} in {replicate.cohort}.")
