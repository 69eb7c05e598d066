"""The JSON Schema of recipes, by which editors complete names and underline faults."""

from typing import Any

from vcmaug.control.method import ControlMethod
from vcmaug.pipeline.recipe import Recipe

__all__ = ["recipe_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe's YAML file, with the parts of installed packages.

    References:
        JSON Schema, draft 2020-12.
    """
    schema = Recipe.model_json_schema()
    sections = {**schema.pop("properties"), "profiles": _profiles()}
    sections["control"] = {"anyOf": [{"enum": list(ControlMethod.parts())}, sections["control"]]}
    return {"$schema": _DIALECT, **schema, "title": "vcmaug recipe", "properties": sections}


def _profiles() -> dict[str, Any]:
    """Return the schema of profiles: parts of a recipe that are laid over the whole."""
    return {
        "description": "parts of a recipe by name; `--profile NAME` lays one over the rest",
        "type": "object",
        "additionalProperties": {"type": "object"},
    }
