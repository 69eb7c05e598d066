"""`vcmaug gates`: segmenter, autoencoder, prior and control, measured before a study."""

from vcmaug.cli.console import say
from vcmaug.cli.options import ComputeOptions, RecipeOptions, make_or_show, spread

__all__ = ["gates_command"]


@spread
def gates_command(options: RecipeOptions, where: ComputeOptions) -> None:
    """Measure, in this order and on validation subjects, what a study stands on.

    Is the segmenter at its plateau? Does the autoencoder keep what it needs? Are the prior's
    samples real? Do drawn images fit their labels? The first gate that fails names the cause.

    Example: vcmaug gates recipes/hippocampus/recipe.yaml
    """
    from vcmaug.pipeline.graph import Graph

    compute = where.resolved()
    gates = Graph(options.open_work().changed(gates={"seed": options.seed})).gates
    made = make_or_show(gates, dry_run=options.dry_run, as_json=options.as_json, compute=compute)
    if made is not None:
        say(f"The figures are in {gates.folder}")
