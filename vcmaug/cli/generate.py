"""`vcmaug generate`: the cohort."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    Gpus,
    JsonLines,
    NumLabelled,
    Out,
    Pool,
    Profile,
    Quiet,
    RecipePath,
    Scheduler,
    Seed,
    Workers,
    chosen_compute,
    open_work,
    replicate_of,
    show_plan,
)

if TYPE_CHECKING:
    from vcmaug.generate.acceptance import Acceptance

__all__ = ["generate_command"]


def generate_command(
    recipe: RecipePath,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many cases.")] = None,
    num_labelled: NumLabelled = None,
    pool: Pool = False,
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
        bool, typer.Option("--verify", help="Hash all files of a finished cohort and mend it.")
    ] = False,
    gpus: Gpus = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json_lines: JsonLines = False,
) -> None:
    """Draw a labelled cohort; the same command again draws only what is missing.

    Any number of workers, in any order, killed and repeated, leaves the same files. Ctrl-C lets
    what runs end; a second one stops at once.

    Example: vcmaug generate recipes/hippocampus/recipe.yaml --n 1000 --gpus 4
    """
    from vcmaug.pipeline.stages import generate_stage

    compute = chosen_compute(gpus=gpus, workers=workers, scheduler=scheduler)
    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    replicate = replicate_of(work, num_labelled=num_labelled, seed=seed, pool=pool)
    asked = _asked_before(replicate.cohort) if verify else None
    count, acceptance = asked or (work.recipe.generate.n, work.recipe.generate.acceptance)
    count = n or count
    acceptance = _changed(acceptance, accept, max_tries, keep_rejects=keep_rejects)
    if dry_run:
        options = work.recipe.generate.model_copy(update={"acceptance": acceptance})
        doing = f"draw {count} cases into {replicate.cohort} {compute}"
        show_plan(doing, **options.model_dump(mode="json"))
        return
    if only is not None:
        _repeat(replicate.cohort, only, device=compute.device)
        return
    with progress(quiet=quiet, json_lines=json_lines) as report:
        ran = generate_stage(
            work,
            replicate,
            n=count,
            acceptance=acceptance,
            verify=verify,
            compute=compute,
            report=report,
        )
    if not quiet and not json_lines:
        where = f"The cohort {'is' if ran else 'was already'} in {replicate.cohort}"
        say(f"{where}: {_words_of(replicate.cohort)}")


def _asked_before(cohort: Path) -> "tuple[int, Acceptance] | None":
    """Return how many cases a cohort has and what it accepts; None: it is not there."""
    from vcmaug.cohort.layout import CohortLayout
    from vcmaug.generate.plan import read_plan

    if not CohortLayout(cohort).plan.exists():
        return None
    plan = read_plan(cohort)
    return plan.n, plan.settings.acceptance


def _words_of(cohort: Path) -> str:
    """Return how many requests ended how, and where the time went."""
    from vcmaug.cohort.card import read_cohort_card

    card = read_cohort_card(cohort)
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
