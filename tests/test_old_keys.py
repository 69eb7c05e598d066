"""Recipes of version 0.1 are answered with the new names; docs/migration.md lists them all."""

from pathlib import Path

import pytest
import yaml

from vcmaug.config import merged, parse_settings
from vcmaug.errors import RecipeError
from vcmaug.pipeline.recipe import Recipe

RECIPE = """
name: mine
data:
  source: my_data
  scheme: {anterior: 1, posterior: 2}
  grid: {shape: [32, 48, 32], spacing_mm: [1, 1, 1]}
splits: {num_test: 20, num_validation: 10}
prior: {zoo: hippocampus-1mm}
"""

OF_READERS = "settings of a reader stand in format now, e.g. format: "

OLD = {
    "data: {images: 't1/{case}.nii.gz'}": (
        f"data: images: {OF_READERS}{{name: folder, images: t1/{{case}}.nii.gz}}"
    ),
    "data: {labels: 'seg/{case}.nii.gz'}": (
        f"data: labels: {OF_READERS}{{name: folder, labels: seg/{{case}}.nii.gz}}"
    ),
    "data: {table: people.csv, table_key: id}": (
        f"data: table, table_key: {OF_READERS}{{name: folder, table: people.csv}}"
    ),
    "data: {subject: '^(P[0-9]+)_'}": (
        f"data: subject: {OF_READERS}{{name: folder, subject: ^(P[0-9]+)_}}"
    ),
    "data: {image_suffix: T1w, label_suffix: dseg}": (
        f"data: image_suffix, label_suffix: {OF_READERS}{{name: bids, image_suffix: T1w}}"
    ),
    "conditions: {chains: [{steps: [{builder: perturb}]}]}": (
        "conditions.chains.0.steps.0: 'builder' is called 'name' now"
    ),
    "conditions: {chains: [{steps: [{name: lesions, atlas: {source: a, fold: train}}]}]}": (
        "conditions.chains.0.steps.0.atlas: fold: is called 'role' now"
    ),
    "control: {shows: {steps: [{builder: lowres}]}}": (
        "control.shows.steps.0: 'builder' is called 'name' now"
    ),
    "control: {network: {method: t2i_adapter}}": "control.network: 'method' is called 'name' now",
    "control: {network: {channels: [64, 128]}}": "control.network: it has no name; known are ",
    "generate: {gate: {accept: 'image.clipped < 0.01'}}": (
        "generate.gate: is called 'acceptance' now"
    ),
    "reader: {updates: 1200}": "reader: is called 'evaluator' now",
    "rivals: {copy_paste: {structures: [anterior]}}": (
        "rivals: was removed; settings of an arm stand with it, such as "
        "study.arms: [real, {name: real+copy-paste, structures: [lesion]}]"
    ),
    "study: {bootstrap_draws: 500}": (
        "study.bootstrap_draws: was removed; intervals are computed and no longer drawn"
    ),
    "study: {arms: [real, real+warped]}": (
        "study.arms.1: unknown arm 'real+warped'; it is called 'real+deformed' now"
    ),
    "study: {segmenter: {channels: [16, 32]}}": ("study.segmenter: it has no name; known are "),
}


@pytest.mark.parametrize(("old", "message"), OLD.items(), ids=OLD)
def test_an_old_key_is_one_error_that_names_the_new_one(old: str, message: str) -> None:
    content = merged(yaml.safe_load(RECIPE), yaml.safe_load(old))
    with pytest.raises(RecipeError) as told:
        parse_settings(Recipe, content, source="mine.yaml")
    assert message in str(told.value)
    assert "reading mine.yaml: 1 fault\n" in str(told.value)


def test_the_recipe_around_the_old_keys_is_valid() -> None:
    assert parse_settings(Recipe, yaml.safe_load(RECIPE), source="mine.yaml").name == "mine"


def test_settings_that_always_had_a_default_name_still_need_none() -> None:
    sampler = {"generate": {"sampler": {"steps": 7}}}
    recipe = parse_settings(Recipe, merged(yaml.safe_load(RECIPE), sampler), source="mine.yaml")
    assert recipe.generate.sampler.name == "ddim"


@pytest.mark.parametrize(
    "key",
    [
        *("data.images", "data.labels", "data.table", "data.table_key", "data.subject"),
        *("data.image_suffix", "data.label_suffix", "builder:", "atlas.fold", "method:"),
        *("generate.gate", "reader", "rivals.copy_paste", "rivals.label_to_image", "real+warped"),
    ],
)
def test_the_migration_page_lists_every_old_key(key: str) -> None:
    page = Path(__file__).parents[1] / "docs" / "migration.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines()]
    assert any(f"`{key}" in row[1] for row in rows if len(row) > 3)
