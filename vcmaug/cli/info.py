"""`vcmaug info`: models, priors, recipes, machine."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vcmaug.cli.console import say

__all__ = ["info_command"]


def info_command(
    prior: Annotated[
        str | None, typer.Option("--prior", help="A prior: of the zoo, or a folder.")
    ] = None,
    control: Annotated[
        str | None, typer.Option("--control", help="A control: of the zoo, or a folder.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe to read.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what is there: versions, machine, GPUs, the zoo, and the cards of models.

    Example: vcmaug info --prior brain-mini-4mm --json
    """
    from vcmaug.ldm.weights import read_card
    from vcmaug.pipeline.recipe import read_recipe
    from vcmaug.provenance import machine, versions
    from vcmaug.zoo import zoo_entries

    facts: dict[str, Any] = {"versions": versions(), "machine": machine(), "zoo": zoo_entries()}
    if prior is not None:
        facts["prior"] = _short(read_card(_folder(prior), kind="prior"))
    if control is not None:
        facts["control"] = _short(read_card(_folder(control), kind="control"))
    if recipe is not None:
        facts["recipe"] = read_recipe(recipe).model_dump(mode="json")
    if as_json:
        say(json.dumps(facts, indent=2, default=str))
        return
    for name, value in facts.items():
        say(f"{name}: {json.dumps(value, default=str)}")


def _folder(name: str) -> Path:
    """Return the folder of a model: one that is there, else one of the zoo."""
    from vcmaug.zoo import zoo_folder

    return Path(name) if (Path(name) / "card.json").exists() else zoo_folder(name)


def _short(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card without its log, its subjects counted."""
    kept = {key: value for key, value in card.items() if key != "log"}
    return kept | {"subjects": len(card["subjects"])}
