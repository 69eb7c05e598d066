"""`vcmaug schema`: the JSON Schema of recipes."""

from vcmaug.cli.console import say

__all__ = ["schema_command"]


def schema_command() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them.

    It knows the parts of every installed package. The first line of a recipe names the file:
    `# yaml-language-server: $schema=recipe.schema.json`.

    Example: vcmaug schema > recipe.schema.json
    """
    import json

    from vcmaug.pipeline.schema import recipe_schema

    say(json.dumps(recipe_schema(), indent=1, ensure_ascii=False))
