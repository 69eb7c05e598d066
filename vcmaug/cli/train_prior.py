"""`vcmaug train-prior`: autoencoder and diffusion U-Net, on images alone."""

from vcmaug.cli.console import say
from vcmaug.cli.options import RecipeOptions, Resume, make_or_show, spread, start_again

__all__ = ["train_prior_command"]


@spread
def train_prior_command(options: RecipeOptions, resume: Resume = "latest") -> None:
    """Train the prior of a recipe; labels are not needed, test subjects are not seen.

    A stopped training goes on from its latest checkpoint; a finished one is repeated with
    --resume never alone.

    Example: vcmaug train-prior recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.graph import Graph

    work = options.open_work().changed(prior={"seed": options.seed})
    prior = Graph(work).prior
    anew = resume == "never" if options.dry_run else start_again(prior.folder, resume)
    made = make_or_show(prior, dry_run=options.dry_run, as_json=options.as_json, again=anew)
    if made is not None:
        say(f"The prior {'is' if made else 'was already'} in {prior.folder}.")
