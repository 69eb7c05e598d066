"""`vcmaug train-control`: a control on the frozen prior, from n labelled cases."""

from vcmaug.cli.console import say
from vcmaug.cli.options import (
    RecipeOptions,
    ReplicateOptions,
    Resume,
    make_or_show,
    spread,
    start_again,
)

__all__ = ["train_control_command"]


@spread
def train_control_command(
    options: RecipeOptions, one: ReplicateOptions, resume: Resume = "latest"
) -> None:
    """Train the control of one (n, seed) on exactly n labelled training cases.

    A stopped training goes on from its latest checkpoint; a finished one is repeated with
    --resume never alone.

    Example: vcmaug train-control recipes/hippocampus/recipe.yaml --n-labelled 10 --seed 0
    """
    from vcmaug.pipeline.asked import with_models_as_asked
    from vcmaug.pipeline.graph import Graph

    work = options.open_work()
    replicate = one.chosen(work, options.seed)
    control = Graph(with_models_as_asked(work, replicate)).control(replicate)
    anew = resume == "never" if options.dry_run else start_again(control.folder, resume)
    made = make_or_show(control, dry_run=options.dry_run, as_json=options.as_json, again=anew)
    if made is not None:
        say(f"The control {'is' if made else 'was already'} in {control.folder}.")
