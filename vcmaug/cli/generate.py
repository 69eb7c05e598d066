"""`vcmaug generate`: the cohort."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import say
from vcmaug.cli.options import (
    ComputeOptions,
    RecipeOptions,
    ReplicateOptions,
    make_or_show,
    spread,
)

if TYPE_CHECKING:
    from vcmaug.generate.acceptance import Acceptance

__all__ = ["generate_command"]


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
    from vcmaug.pipeline.asked import with_cohort_as_asked, with_models_as_asked
    from vcmaug.pipeline.graph import Graph

    compute, work = where.resolved(), options.open_work()
    replicate = one.chosen(work, options.seed)
    work = (with_cohort_as_asked if verify else with_models_as_asked)(work, replicate)
    acceptance = work.recipe.generate.acceptance
    acceptance = _changed(acceptance, accept, max_tries, keep_rejects=keep_rejects)
    cohort = Graph(work.changed(generate={"n": n, "acceptance": acceptance})).cohort(replicate)
    if only is not None and not options.dry_run:
        _repeat(cohort.folder, only, device=compute.device)
        return
    made = make_or_show(
        cohort,
        dry_run=options.dry_run,
        as_json=options.as_json,
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

    changed: dict[str, object] = {"accept": accept, "max_tries": max_tries}
    changed |= {"keep_rejects": keep_rejects or None}
    given = {name: value for name, value in changed.items() if value is not None}
    content = acceptance.model_dump(mode="json") | given
    return parse_settings(Acceptance, content, source="the options of generate")


def _repeat(cohort: Path, request_id: str, *, device: str) -> None:
    """Draw one case again, say what came out, and end with code 1 if it differs."""
    from vcmaug.generate.repeat import repeat

    repeated = repeat(cohort, request_id, device=device)
    say(repeated.words)
    if not repeated.same:
        raise typer.Exit(1)
