"""`vcmaug build-conditions`: label maps and scalars to ask for."""

from pathlib import Path
from typing import Annotated

import typer

from vcmaug.cli.console import say
from vcmaug.cli.options import (
    ComputeOptions,
    RecipeOptions,
    ReplicateOptions,
    make_or_show,
    spread,
)

__all__ = ["build_conditions_command"]


@spread
def build_conditions_command(
    options: RecipeOptions,
    one: ReplicateOptions,
    where: ComputeOptions,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many conditions.")] = None,
    lazy: Annotated[
        bool, typer.Option("--lazy", help="Write the tables only; maps are made when needed.")
    ] = False,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Draw sources and results side by side.")
    ] = False,
    replay: Annotated[
        str | None, typer.Option("--replay", metavar="ID", help="Make one again and compare.")
    ] = None,
) -> None:
    """Build n conditions from the labelled cases of one (n-labelled, seed).

    Example: vcmaug build-conditions recipes/hippocampus/recipe.yaml --n 1000
    """
    from vcmaug.pipeline.graph import Graph

    compute = where.resolved()
    work = options.open_work().changed(conditions={"n": n, "lazy": lazy or None})
    conditions = Graph(work).conditions(one.chosen(work, options.seed))
    if replay is not None and not options.dry_run:
        _replay(conditions.folder, replay)
        return
    made = make_or_show(
        conditions, dry_run=options.dry_run, as_json=options.as_json, compute=compute
    )
    if made is None:
        return
    count = work.recipe.conditions.n
    say(f"{count} conditions {'are' if made else 'were already'} in {conditions.folder}.")
    if gallery:
        from vcmaug.report.conditions import write_gallery

        say(f"The gallery is {write_gallery(conditions.folder)}.")


def _replay(folder: Path, condition_id: str) -> None:
    """Make a condition again and say whether it is the same."""
    from vcmaug.conditions.replay import replay
    from vcmaug.errors import DataError, list_faults

    differences = replay(folder, condition_id)
    if differences:
        raise DataError(list_faults(f"replaying {condition_id} of {folder}", differences))
    say(f"{condition_id} of {folder} was made again: every byte is the same.")
