"""`vcmaug build-conditions`: label maps and scalars to ask for."""

from pathlib import Path
from typing import Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    NumLabelled,
    Out,
    Pool,
    Profile,
    RecipePath,
    Seed,
    Workers,
    chosen_compute,
    open_work,
    replicate_of,
    show_plan,
)

__all__ = ["build_conditions_command"]


def build_conditions_command(
    recipe: RecipePath,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many conditions.")] = None,
    num_labelled: NumLabelled = None,
    pool: Pool = False,
    workers: Workers = None,
    lazy: Annotated[
        bool, typer.Option("--lazy", help="Write the tables only; maps are made when needed.")
    ] = False,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Draw sources and results side by side.")
    ] = False,
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="ID", help="Make one again and compare.")
    ] = None,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """Build n conditions from the labelled cases of one (n-labelled, seed).

    Example: vcmaug build-conditions recipes/hippocampus/recipe.yaml --n 1000
    """
    from vcmaug.pipeline.stages import conditions_stage

    compute = chosen_compute(gpus=None, workers=workers, scheduler=None)
    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    replicate = replicate_of(work, num_labelled=num_labelled, seed=seed, pool=pool)
    count = n or work.recipe.conditions.n
    if dry_run:
        options = work.recipe.conditions.model_dump(mode="json")
        show_plan(f"build {count} conditions in {replicate.conditions} {compute}", **options)
        return
    if replay is not None:
        _replay(replicate.conditions, replay)
        return
    with progress() as report:
        ran = conditions_stage(work, replicate, n=n, lazy=lazy, compute=compute, report=report)
    say(f"{count} conditions {'are' if ran else 'were already'} in {replicate.conditions}.")
    if gallery:
        from vcmaug.report.conditions import write_gallery

        say(f"The gallery is {write_gallery(replicate.conditions)}.")


def _replay(folder: Path, condition_id: str) -> None:
    """Make a condition again and say whether it is the same."""
    from vcmaug.conditions.replay import replay
    from vcmaug.errors import DataError, list_faults

    differences = replay(folder, condition_id)
    if differences:
        raise DataError(list_faults(f"replaying {condition_id} of {folder}", differences))
    say(f"{condition_id} of {folder} was made again: every byte is the same.")
