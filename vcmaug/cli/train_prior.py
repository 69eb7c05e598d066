"""`vcmaug train-prior`: autoencoder and diffusion U-Net, on images alone."""

from vcmaug.cli.console import progress, say
from vcmaug.cli.options import (
    DryRun,
    Out,
    Profile,
    RecipePath,
    Resume,
    Seed,
    begin_anew,
    open_work,
    show_plan,
)

__all__ = ["train_prior_command"]


def train_prior_command(
    recipe: RecipePath,
    profile: Profile = None,
    out: Out = None,
    seed: Seed = None,
    resume: Resume = "latest",
    dry_run: DryRun = False,
) -> None:
    """Train the prior of a recipe; labels are not needed, test subjects are not seen.

    A stopped training goes on from its latest checkpoint; a finished one is repeated with
    --resume never alone.

    Example: vcmaug train-prior recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.stages import prior_stage

    work = open_work(recipe, profile=profile, out=out, dry_run=dry_run)
    if dry_run:
        show_plan(f"train a prior in {work.prior}", **work.recipe.prior.model_dump(mode="json"))
        return
    anew = begin_anew(work.prior, resume)
    with progress() as report:
        ran = prior_stage(work, seed=seed, again=anew, report=report)
    say(f"The prior {'is' if ran else 'was already'} in {work.prior}.")
