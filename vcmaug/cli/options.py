"""The options that verbs share, and the way from them to a work folder.

What it is: typed options with their help, and `open_work`.
In the flow: under every verb that is given a recipe.
Sources: none.
"""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vcmaug.cli.console import say

if TYPE_CHECKING:
    from vcmaug.compute import Compute
    from vcmaug.pipeline.work import Replicate, Work

__all__ = [
    "DryRun",
    "Gpus",
    "JsonLines",
    "NumLabelled",
    "Out",
    "Pool",
    "Profile",
    "Quiet",
    "RecipePath",
    "Resume",
    "Scheduler",
    "Seed",
    "Workers",
    "begin_anew",
    "chosen_compute",
    "open_work",
    "replicate_of",
    "show_plan",
]

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file of a recipe.")]
Profile = Annotated[
    str | None, typer.Option("--profile", help="One of the recipe's profiles, e.g. smoke.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Work folder. Default: work/NAME, or work/NAME-PROFILE."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Default: the recipe's.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved options and what would be done.")
]
Resume = Annotated[
    Literal["latest", "never"],
    typer.Option("--resume", help="Go on from the latest checkpoint, or begin anew."),
]
NumLabelled = Annotated[
    int | None,
    typer.Option("--n-labelled", min=1, help="Labelled cases. Default: the study's first n."),
]
Pool = Annotated[
    bool,
    typer.Option(
        "--pool", help="Use the other training cases too, with labels guessed by a segmenter."
    ),
]
Gpus = Annotated[int | None, typer.Option("--gpus", min=1, help="One worker process per GPU.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=0, help="CPU worker processes; 0: this process.")
]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", help="Address of a running Dask scheduler.")
]

Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing unless something fails.")]
JsonLines = Annotated[
    bool, typer.Option("--json-lines", help="Print progress as lines of JSON, for machines.")
]


def open_work(
    recipe_path: Path, *, profile: str | None, out: Path | None, dry_run: bool = False
) -> "Work":
    """Return the work folder of a recipe; a dry run marks nothing.

    Args:
        recipe_path: The YAML file.
        profile: One of its profiles, or None.
        out: The folder, or None for the default.
        dry_run: Leave the folder as it is.
    """
    from vcmaug.pipeline.recipe import read_recipe
    from vcmaug.pipeline.work import Work, claim_work

    recipe = read_recipe(recipe_path, profile=profile)
    folder = out or Path("work") / (f"{recipe.name}-{profile}" if profile else recipe.name)
    if dry_run:
        return Work(folder, recipe)
    return claim_work(folder, recipe, profile=profile)


def replicate_of(
    work: "Work", *, num_labelled: int | None, seed: int | None, pool: bool = False
) -> "Replicate":
    """Return the replicate that options name; the study's first where they do not."""
    study = work.recipe.study
    first_n, first_seed = study.num_labelled[0], study.seeds[0]
    replicate = work.replicate(
        first_n if num_labelled is None else num_labelled, first_seed if seed is None else seed
    )
    return replicate.with_pool if pool else replicate


def begin_anew(folder: Path, resume: str) -> bool:
    """Return whether a training is to begin anew; if so, its checkpoints are removed."""
    if resume == "never":
        shutil.rmtree(folder / ".checkpoints", ignore_errors=True)
    return resume == "never"


def chosen_compute(*, gpus: int | None, workers: int | None, scheduler: str | None) -> "Compute":
    """Return where to run; see `vcmaug.compute.resolve_compute`."""
    from vcmaug.compute import resolve_compute

    return resolve_compute(gpus=gpus, workers=workers, scheduler=scheduler)


def show_plan(what: str, **options: Any) -> None:
    """Print what a dry run would do, and the resolved options as JSON."""
    say(f"would {what}; with these options:")
    say(json.dumps(options, indent=2, default=str))
