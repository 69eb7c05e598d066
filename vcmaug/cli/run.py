"""`vcmaug run`: everything that a recipe's report shows."""

from vcmaug.cli.console import say
from vcmaug.cli.options import ComputeOptions, RecipeOptions, make_or_show, spread

__all__ = ["run_command"]


@spread
def run_command(options: RecipeOptions, where: ComputeOptions) -> None:
    """Go the whole way, from cases to report; a stage whose inputs are unchanged is skipped.

    Example: vcmaug run recipes/hippocampus/recipe.yaml --profile smoke
    """
    from vcmaug.pipeline.graph import Graph

    compute = where.resolved()
    page = Graph(options.open_work().seeded(options.seed)).report
    made = make_or_show(page, dry_run=options.dry_run, as_json=options.as_json, compute=compute)
    if made is not None:
        say(f"Look at {page.load()}")
