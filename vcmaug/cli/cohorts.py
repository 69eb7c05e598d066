"""Conditions and cohorts: `vcmaug build-conditions`, `generate`, `check` and `export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    ComputeOptions,
    RecipeOptions,
    ReplicateOptions,
    make_or_show,
    spread,
)

if TYPE_CHECKING:
    from vcmaug.generate.acceptance import Acceptance

__all__ = ["build_conditions_command", "check_command", "export_command", "generate_command"]

Folder = Annotated[Path, typer.Argument(metavar="COHORT", help="Folder of a cohort.")]


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
    made = make_or_show(conditions, options, compute=compute)
    if made is None:
        return
    count = work.recipe.conditions.n
    say(f"{count} conditions {'are' if made else 'were already'} in {conditions.folder}.")
    if gallery:
        from vcmaug.report.conditions import write_gallery

        say(f"The gallery is {write_gallery(conditions.folder)}.")


def _replay(folder: Path, condition_id: str) -> None:
    """Make a condition again and say whether it is the same."""
    from vcmaug.conditions.workshop import replay
    from vcmaug.errors import DataError, list_faults

    differences = replay(folder, condition_id)
    if differences:
        raise DataError(list_faults(f"replaying {condition_id} of {folder}", differences))
    say(f"{condition_id} of {folder} was made again: every byte is the same.")


@spread
def generate_command(
    options: RecipeOptions,
    one: ReplicateOptions,
    where: ComputeOptions,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many cases.")] = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", help="Draw again unless, e.g., 'adherence.dice >= 0.8'."),
    ] = None,
    max_tries: Annotated[
        int | None, typer.Option("--max-tries", min=1, help="Draws of one request at most.")
    ] = None,
    keep_rejects: Annotated[
        bool, typer.Option("--keep-rejects", help="Keep images that were not accepted.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="ID", help="Draw one case again and compare; no writing."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Hash all files of a finished cohort, redraw faulty ones."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing unless something fails.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print progress as lines of JSON, for machines.")
    ] = False,
) -> None:
    """Draw a labelled cohort; the same command again draws only what is missing.

    Any number of workers, in any order, killed and repeated, leaves the same files. Ctrl-C lets
    what runs end; a second one stops at once.

    Example: vcmaug generate recipes/hippocampus/recipe.yaml --n 1000 --gpus 4
    """
    from vcmaug.pipeline.graph import Graph, with_cohort_as_asked, with_models_as_asked

    compute, work = where.resolved(), options.open_work()
    replicate = one.chosen(work, options.seed)
    work = (with_cohort_as_asked if verify else with_models_as_asked)(work, replicate)
    acceptance = work.recipe.generate.acceptance
    acceptance = _changed(acceptance, accept, max_tries, keep_rejects=keep_rejects)
    cohort = Graph(work.changed(generate={"n": n, "acceptance": acceptance})).cohort(replicate)
    if only is not None and not options.dry_run:
        from vcmaug.generate.repeat import repeat

        repeated = repeat(cohort.folder, only, device=compute.device)
        say(repeated.words)
        if not repeated.same:
            raise typer.Exit(1)
        return
    made = make_or_show(
        cohort,
        options,
        compute=compute,
        again=verify,
        quiet=quiet,
        json_lines=json_lines,
    )
    if made is not None and not quiet and not json_lines:
        told = f"The cohort {'is' if made else 'was already'} in {cohort.folder}"
        say(f"{told}: {_words_of(cohort.folder)}")


def _words_of(cohort: Path) -> str:
    """Return how many requests ended how, and where the time went."""
    from vcmaug.cohort.card import CohortCard

    card = CohortCard.read(cohort)
    counts = [f"{number} {status}" for status, number in card.counts.items()]
    counts += [f"{card.num_redrawn} redrawn"] if card.num_redrawn else []
    counts += [f"{card.num_restarts} shards begun again"] if card.num_restarts else []
    spent = sum(card.seconds.values())
    shares = [f"{name} {part / spent:.0%}" for name, part in card.seconds.items() if spent]
    return f"{', '.join(counts)}; time spent: {', '.join(shares)}."


def _changed(
    acceptance: "Acceptance", accept: str | None, max_tries: int | None, *, keep_rejects: bool
) -> "Acceptance":
    """Return what a recipe accepts with what the options change."""
    from vcmaug.config import parse_settings
    from vcmaug.generate.acceptance import Acceptance

    content = {
        "accept": acceptance.accept if accept is None else accept,
        "max_tries": acceptance.max_tries if max_tries is None else max_tries,
        "keep_rejects": keep_rejects or acceptance.keep_rejects,
    }
    return parse_settings(Acceptance, content, source="the options of generate")


def check_command(cohort: Folder) -> None:
    """List every fault of a finished cohort: lost, damaged or foreign files, rows, counts.

    Ends with code 1 if there are any.

    Example: vcmaug check work/hippocampus/replicates/n10-s0/cohort
    """
    from vcmaug.cohort.check import check_cohort

    with progress() as report:
        faults = check_cohort(cohort, report=report)
    for fault in faults:
        say(fault)
    say(f"{len(faults)} faults in {cohort}." if faults else f"{cohort} is whole.")
    if faults:
        raise typer.Exit(1)


def export_command(
    cohort: Folder,
    to: Annotated[str, typer.Option("--to", help="The layout, such as monai-datalist.")],
    out: Annotated[Path, typer.Option("--out", help="The file or folder to write.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the layout; repeatable."),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option("--splits", help="splits.json of the study; by default the work folder's."),
    ] = None,
) -> None:
    """Write a finished cohort in the layout of another tool.

    A cohort that held-out subjects had a part in is refused.

    Example: vcmaug export work/replicates/n10-s0/cohort --to monai-datalist --out drawn.json
    """
    import yaml

    from vcmaug.cohort.cohort import Cohort
    from vcmaug.cohort.exporter import Exporter
    from vcmaug.config import parse_settings
    from vcmaug.data.splits import read_splits
    from vcmaug.outputs import refuse_overlap

    given = dict(text.partition("=")[::2] for text in settings or [])
    asked = {"name": to} | {name: yaml.safe_load(value) for name, value in given.items()}
    exporter = parse_settings(Exporter, asked, source="the options of export")  # type: ignore[type-abstract]
    refuse_overlap(f"exporting {cohort}", writes=[out], reads=filter(None, [splits]))
    opened = Cohort.open(cohort)
    roles = None if splits is None else read_splits(splits)
    with progress() as report:
        written = exporter.export(opened, out, splits=roles, report=report)
    say(f"{len(opened)} cases of {cohort} are listed in {written}.")
