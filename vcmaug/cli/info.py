"""`vcmaug info` and `vcmaug schema`: models, machine, and what a recipe may say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcmaug.cli.console import say
from vcmaug.errors import ModelError

if TYPE_CHECKING:
    from vcmaug.ldm.card import ModelCard
    from vcmaug.ldm.spec import PriorSpec

__all__ = ["info_command", "schema_command"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def info_command(
    prior: Annotated[
        str | None, typer.Option("--prior", help="A prior: of the zoo, a folder, or brainldm.")
    ] = None,
    control: Annotated[
        str | None,
        typer.Option("--control", help="A control: of the zoo, a folder, or a method's name."),
    ] = None,
    channels: Annotated[
        int, typer.Option("--channels", help="Structures, where a method is counted.", min=1)
    ] = 8,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A recipe to read.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what is there: versions, machine, GPUs, the zoo, and the cards of models.

    Example: vcmaug info --prior brain-mini-4mm --json
    """
    from vcmaug.pipeline.recipe import read_recipe
    from vcmaug.provenance import machine, versions
    from vcmaug.zoo import zoo_entries

    facts: dict[str, Any] = {"versions": versions(), "machine": machine(), "zoo": zoo_entries()}
    if prior is not None:
        facts["prior"] = _prior(prior)
    if control is not None:
        facts["control"] = _control(control, prior=prior, channels=channels)
    if recipe is not None:
        facts["recipe"] = read_recipe(recipe).model_dump(mode="json")
    if as_json:
        say(json.dumps(facts, indent=2, default=str))
        return
    for name, value in facts.items():
        say(f"{name}: {json.dumps(value, default=str)}")


def _prior(name: str) -> dict[str, Any]:
    """Return the card of a prior, or the counts of BrainLDM's networks without their weights."""
    from vcmaug.ldm.autoencoder import StemmedAutoencoder
    from vcmaug.ldm.card import PriorCard, read_card
    from vcmaug.ldm.denoiser import ScalarUNet
    from vcmaug.ldm.weights import num_parameters
    from vcmaug.released.brainldm import AFFINE, BRAINLDM

    if name != BRAINLDM.name:
        return _short(read_card(_folder(name), PriorCard))
    return {
        "name": name,
        "spec": BRAINLDM.model_dump(mode="json"),
        "latent_shape": BRAINLDM.latent_shape,
        "affine_of_samples": AFFINE,
        "num_parameters": {
            "autoencoder": num_parameters(lambda: StemmedAutoencoder(BRAINLDM)),
            "unet": num_parameters(lambda: ScalarUNet(BRAINLDM)),
        },
        "weights": "not here: import them with `vcmaug import-weights brainldm`",
    }


def _control(name: str, *, prior: str | None, channels: int) -> dict[str, Any]:
    """Return the card of a control, or the counts of a method's networks on a prior.

    Raises:
        ModelError: A method is named without a prior.
    """
    from vcmaug.control.card import ControlCard
    from vcmaug.control.method import ControlMethod, control_method
    from vcmaug.ldm.card import read_card

    known = {method.replace("_", "-") for method in ControlMethod.parts()}
    if name.replace("_", "-") not in known or _is_model(name):
        return _short(read_card(_folder(name), ControlCard))
    if prior is None:
        raise ModelError(f"counting control {name!r}: name the prior as well, --prior NAME.")
    method = control_method(name)
    return {
        "name": method.name,
        "channels": channels,
        "settings": method.model_dump(mode="json"),
        "num_parameters": method.num_parameters(_spec(prior), num_structures=channels),
    }


def _spec(name: str) -> "PriorSpec":
    """Return the spec of a prior, of BrainLDM without its weights."""
    from vcmaug.ldm.card import PriorCard, read_card
    from vcmaug.released.brainldm import BRAINLDM

    return BRAINLDM if name == BRAINLDM.name else read_card(_folder(name), PriorCard).spec


def _folder(name: str) -> Path:
    """Return the folder of a model: one that is there, else one of the zoo."""
    from vcmaug.zoo import zoo_folder

    return Path(name) if _is_model(name) else zoo_folder(name)


def _is_model(name: str) -> bool:
    """Return whether a model's folder of this name is there."""
    return (Path(name) / "card.json").exists()


def _short(card: "ModelCard") -> dict[str, Any]:
    """Return a card without its log, its subjects counted."""
    kept = card.model_dump(mode="json", exclude={"log", "seen"})
    counts = {name: len(ids) for name, ids in card.seen if isinstance(ids, tuple)}
    return kept | {"subjects": len(card.seen.subjects), "seen": counts}


def schema_command() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them.

    It knows the parts of every installed package. The first line of a recipe names the file:
    `# yaml-language-server: $schema=recipe.schema.json`.

    Example: vcmaug schema > recipe.schema.json
    """
    from vcmaug.control.method import ControlMethod
    from vcmaug.pipeline.recipe import Recipe

    schema = Recipe.model_json_schema()
    sections = schema.pop("properties")
    sections["profiles"] = {
        "description": "parts of a recipe by name; `--profile NAME` lays one over the rest",
        "type": "object",
        "additionalProperties": {"type": "object"},
    }
    sections["control"] = {"anyOf": [{"enum": list(ControlMethod.parts())}, sections["control"]]}
    del schema["$defs"]["PriorSpec"]["required"]  # name and grid are else those of the recipe
    schema["required"] = ["data"]
    whole = {"$schema": _DIALECT, **schema, "title": "vcmaug recipe", "properties": sections}
    say(json.dumps(whole, indent=1, ensure_ascii=False))
