"""`vcmaug train-prior` and `vcmaug train-control`: the models of a recipe."""

from vcmaug.cli.options import RecipeOptions, ReplicateOptions, Resume, make_model, spread

__all__ = ["train_control_command", "train_prior_command"]


@spread
def train_prior_command(options: RecipeOptions, resume: Resume = "latest") -> None:
    """Train the prior of a recipe; labels are not needed, test subjects are not seen.

    A stopped training goes on from its latest checkpoint; a finished one is repeated with
    --resume never alone.

    Example: vcmaug train-prior recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.graph import Graph

    work = options.open_work().changed(prior={"seed": options.seed})
    make_model(Graph(work).prior, options, resume)


@spread
def train_control_command(
    options: RecipeOptions, one: ReplicateOptions, resume: Resume = "latest"
) -> None:
    """Train the control of one (n, seed) on exactly n labelled training cases.

    A stopped training goes on from its latest checkpoint; a finished one is repeated with
    --resume never alone.

    Example: vcmaug train-control recipes/hippocampus/recipe.yaml --n-labelled 10 --seed 0
    """
    from vcmaug.pipeline.graph import Graph, with_models_as_asked

    work = options.open_work()
    replicate = one.chosen(work, options.seed)
    make_model(Graph(with_models_as_asked(work, replicate)).control(replicate), options, resume)
