"""`vcmaug evaluate`: does the image fit its label, and how far is it from real."""

from pathlib import Path
from typing import Annotated

import typer

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import DryRun, show_plan
from vcmaug.errors import WorkFolderError

__all__ = ["evaluate_command"]


def evaluate_command(
    cohort: Annotated[
        Path, typer.Argument(metavar="COHORT", help="WORK/replicates/n10-s0/cohort.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Work folder, where it is not above COHORT.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the independent evaluator's training.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Check every file of a cohort, then measure adherence and distance from real images.

    Example: vcmaug evaluate work/hippocampus/replicates/n10-s0/cohort
    """
    from vcmaug.cohort.check import check_cohort
    from vcmaug.errors import FaultyDataSet
    from vcmaug.files import read_json
    from vcmaug.pipeline.stages import evaluate_stage
    from vcmaug.pipeline.work import Replicate, Work, find_work

    folder = cohort.resolve()
    root = out.resolve() if out else _work_above(folder)
    work = find_work(root)
    if seed is not None:
        work = Work(work.folder, work.recipe.model_copy(update={"seed": seed}))
    pool = folder.parent.name == "pool"
    own = folder.parent.parent if pool else folder.parent
    number, replicate_seed = own.name.removeprefix("n").split("-s")
    replicate = Replicate(folder.parent, int(number), int(replicate_seed), pool)
    if dry_run:
        show_plan(
            f"evaluate {cohort} into {replicate.quality}", **work.recipe.evaluator.model_dump()
        )
        return
    faults = check_cohort(folder)
    if faults:
        raise FaultyDataSet(
            f"checking {cohort}", faults, advice="Run `vcmaug generate` with --verify to mend it."
        )
    with progress() as report:
        evaluate_stage(work, replicate, report=report)
    quality = read_json(replicate.quality / "quality.json")
    for row in quality["adherence"]:
        say(f"adherence, {row['source']}, {row['structure']}: Dice {row['dice']:.3f}")
    for row in quality["distances"]:
        say(f"{row['row']}: Frechet distance {row['frechet_distance']:.2f}")
    say(f"The evaluation is in {replicate.quality}.")


def _work_above(cohort: Path) -> Path:
    """Return the work folder above a cohort."""
    for folder in cohort.parents:
        if (folder / "recipe.json").exists():
            return folder
    raise WorkFolderError(
        f"evaluating {cohort}: no work folder above it (one that holds recipe.json). Name it with "
        "--out."
    )
