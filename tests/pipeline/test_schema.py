"""The JSON Schema of recipes: up to date, true of every recipe, false of what is wrong."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from vcmaug.config import merged

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "recipe.schema.json"
RECIPES = sorted(ROOT.glob("recipes/*/recipe.yaml"))
FIRST_LINE = "# yaml-language-server: $schema=../../docs/recipe.schema.json"

SCHEMA = json.loads(FILE.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def content_of(recipe: Path) -> dict:
    return yaml.safe_load(recipe.read_text())


def test_the_file_is_what_the_verb_prints() -> None:
    """In a process of its own: other tests have defined parts in this one."""
    command = [sys.executable, "-m", "vcmaug.cli.main", "schema"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    advice = "run: vcmaug schema > docs/recipe.schema.json"
    assert ended.stdout == FILE.read_text(), advice
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_every_recipe_names_the_schema_and_fits_it(recipe: Path) -> None:
    assert recipe.read_text().splitlines()[0] == FIRST_LINE
    content = content_of(recipe)
    VALIDATOR.validate(content)
    for profile in content.get("profiles", {}).values():
        VALIDATOR.validate(merged(content, profile))


def test_the_name_of_a_control_method_alone_will_do() -> None:
    VALIDATOR.validate(content_of(RECIPES[0]) | {"control": "mcm"})


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("generatex", {"n": 3}),
        ("generate", {"sampler": "dimm"}),
        ("generate", {"sampler": {"name": "ddim", "stepz": 25}}),
        ("conditions", {"chains": [{"steps": [{"max_displacement_mm": 3}]}]}),
        ("study", {"arms": ["real+synthetics"]}),
        ("seed", "nought"),
    ],
)
def test_what_is_wrong_does_not_fit(section: str, value: object) -> None:
    content = copy.deepcopy(content_of(RECIPES[0]))
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(content | {section: value})
