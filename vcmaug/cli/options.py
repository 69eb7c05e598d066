"""The options that verbs share, and the one way from them to artefacts: show what would be made, or
make it.

A verb takes groups of options as records; `spread` turns each record into the options in it.
"""

import functools
import inspect
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vcmaug.cli.console import progress, say
from vcmaug.files import locked

if TYPE_CHECKING:
    from vcmaug.compute import Compute
    from vcmaug.pipeline.artefact import Artefact
    from vcmaug.pipeline.work import Replicate, Work

__all__ = [
    "AsJson",
    "ComputeOptions",
    "DryRun",
    "RecipeOptions",
    "ReplicateOptions",
    "Resume",
    "ShowOptions",
    "make_model",
    "make_or_show",
    "spread",
]

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what is there, what would be made, and at what cost."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="With --dry-run: JSON, with the resolved options.")
]
Resume = Annotated[
    Literal["latest", "never"],
    typer.Option("--resume", help="Resume from the latest checkpoint, or start again."),
]


@dataclass(frozen=True)
class ShowOptions:
    """The options of every verb that can say what it would do."""

    dry_run: DryRun = False
    as_json: AsJson = False


@dataclass(frozen=True)
class RecipeOptions:
    """The options of every verb that is given a recipe."""

    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file of a recipe.")]
    profile: Annotated[
        str | None, typer.Option("--profile", help="One of the recipe's profiles, e.g. smoke.")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Work folder. Default: work/NAME, or work/NAME-PROFILE."),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", help="Default: the recipe's.")] = None
    dry_run: DryRun = False
    as_json: AsJson = False

    def open_work(self) -> "Work":
        """Return the work folder of the recipe; a dry run marks nothing."""
        from vcmaug.pipeline.recipe import read_recipe
        from vcmaug.pipeline.work import check_work, claim_work

        recipe, profile = read_recipe(self.recipe, profile=self.profile), self.profile
        folder = self.out or Path("work") / (f"{recipe.name}-{profile}" if profile else recipe.name)
        return (check_work if self.dry_run else claim_work)(folder, recipe, profile=profile)


@dataclass(frozen=True)
class ReplicateOptions:
    """The options of a verb about one (n, seed)."""

    num_labelled: Annotated[
        int | None,
        typer.Option("--n-labelled", min=1, help="Labelled cases. Default: the study's first n."),
    ] = None
    pool: Annotated[
        bool,
        typer.Option(
            "--pool", help="Use the other training cases too, with labels guessed by a segmenter."
        ),
    ] = False

    def chosen(self, work: "Work", seed: int | None) -> "Replicate":
        """Return the replicate that is named; the study's first where none is."""
        study = work.recipe.study
        replicate = work.replicate(
            study.num_labelled[0] if self.num_labelled is None else self.num_labelled,
            study.seeds[0] if seed is None else seed,
        )
        return replicate.with_pool if self.pool else replicate


@dataclass(frozen=True)
class ComputeOptions:
    """Where to run."""

    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="One worker process per GPU.")
    ] = None
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="CPU worker processes; 0: this process.")
    ] = None
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of a running Dask scheduler.")
    ] = None

    def resolved(self) -> "Compute":
        """Return where to run; see `vcmaug.compute.resolve_compute`."""
        from vcmaug.compute import resolve_compute

        return resolve_compute(gpus=self.gpus, workers=self.workers, scheduler=self.scheduler)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose groups of options are options of its own.

    Args:
        command: Its parameters are options, or records of options.
    """
    parameters = inspect.signature(command).parameters
    kinds = {name: one.annotation for name, one in parameters.items()}
    groups = {
        name: kind for name, kind in kinds.items() if isinstance(kind, type) and is_dataclass(kind)
    }

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
        command(**given)

    found: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        group = groups.get(name)
        found += inspect.signature(group).parameters.values() if group else [parameter]
    found.sort(key=lambda one: one.default is not inspect.Parameter.empty)  # what is required first
    keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in found]
    flat.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    flat.__annotations__ = {one.name: one.annotation for one in keyword} | {"return": None}
    del flat.__wrapped__
    return flat


def make_or_show(
    target: "Artefact",
    options: RecipeOptions | ShowOptions,
    *,
    compute: "Compute | None" = None,
    again: bool = False,
    quiet: bool = False,
    json_lines: bool = False,
) -> bool | None:
    """Make an artefact and all that it needs, or show what would be made.

    Args:
        target: What is asked for.
        options: Whether to show it, and how.
        compute: Where to run; None: in this process.
        again: Make it although it is there.
        quiet: Say nothing.
        json_lines: Print progress as lines of JSON.

    Returns:
        Whether it was made; None after a dry run.
    """
    from vcmaug.compute import Compute
    from vcmaug.pipeline.artefact import Run

    where, names = compute or Compute("in-process"), frozenset({target.name} if again else ())
    if options.dry_run:
        from vcmaug.pipeline.dry_run import forecast

        told = forecast([target], compute=where, again=names)
        say(told.as_json() if options.as_json else "\n".join(told.lines()))
        if told.faults:
            raise typer.Exit(2)
        return None

    def say_made(name: str, made: bool) -> None:
        if not (quiet or json_lines):
            say(f"{name}: {'done' if made else 'unchanged, kept'}")

    with progress(quiet=quiet, json_lines=json_lines) as report:
        return target.make(Run(where, say_made, report, names))


def make_model(target: "Artefact", options: RecipeOptions, resume: str) -> None:
    """Train a model, from its latest checkpoint or anew, and say where it is; or show it."""
    anew = resume == "never"
    checkpoints = target.folder / ".checkpoints"
    if anew and not options.dry_run and checkpoints.exists():
        with locked(target.folder, purpose="beginning anew", together=True):
            shutil.rmtree(checkpoints, ignore_errors=True)
    made = make_or_show(target, options, again=anew)
    if made is not None:
        say(f"The {target.kind} {'is' if made else 'was already'} in {target.folder}.")
