from pathlib import Path

import pytest
import yaml

from vcmaug.errors import RecipeError
from vcmaug.files import read_json
from vcmaug.generate.samplers import Sampler
from vcmaug.pipeline.recipe import ControlRecipe, read_recipe
from vcmaug.zoo import zoo_entries, zoo_folder

RECIPES = Path(__file__).parents[2] / "recipes"
NAMED = [
    (path, profile)
    for path in sorted(RECIPES.glob("*/recipe.yaml"))
    for profile in [None, *yaml.safe_load(path.read_text()).get("profiles", {})]
]


@pytest.mark.parametrize(("path", "profile"), NAMED, ids=lambda value: str(value)[-24:])
def test_every_recipe_and_profile_can_be_built(
    path: Path, profile: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCMAUG_DATA", "data")
    recipe = read_recipe(path, profile=profile)
    if recipe.prior.spec is not None:
        assert recipe.prior.spec.grid == recipe.data.grid
        assert not recipe.prior.spec.measured_scalars  # labels that the arms do not have
        network = recipe.control.network.network(
            recipe.prior.spec, num_structures=len(recipe.data.scheme)
        )
        assert sum(p.numel() for p in network.parameters()) < 6_000_000
    assert (path.parent / "README.md").exists()


def test_guidance_that_the_prior_cannot_give_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"shape": [16, 16, 16], "spacing_mm": [2, 2, 2]}
    content = {
        "name": "guided",
        "data": {"source": str(tmp_path), "scheme": {"core": 1}, "grid": grid},
        "generate": {"guidance": 3},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(
        RecipeError, match=r"1\. generate: guidance is 3, and .* no scalars"
    ) as told:
        read_recipe(path)
    assert "Value error" not in str(told.value)
    assert "'grid'" not in str(told.value)  # the content of the recipe is not repeated
    age = {"name": "age", "low": 20, "high": 80, "column": "age"}
    content["prior"] = {"spec": {"scalars": [age], "drop_scalars": 0.1}}
    path.write_text(yaml.safe_dump(content))
    assert read_recipe(path).generate.guidance == 3


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VCMAUG_DATA", raising=False)
    with pytest.raises(RecipeError, match="VCMAUG_DATA is not set"):
        read_recipe(RECIPES / "hippocampus" / "recipe.yaml")


@pytest.mark.parametrize("name", ["vcm-released", "vcm_released", "controlnet-mlp", "t2i-adapter"])
def test_a_method_may_be_named_with_hyphens(name: str) -> None:
    for value in (name, {"network": {"name": name}}):
        recipe = ControlRecipe.model_validate(value)
        assert recipe.network.name == name.replace("-", "_")
        assert ControlRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("name", ["hippocampus", "brain-mini"])
def test_the_split_files_keep_their_subjects_apart(name: str) -> None:
    splits = read_json(RECIPES / name / "splits.json")
    roles = [set(splits[role]) for role in ("train", "validation", "test")]
    assert sum(map(len, roles)) == len(set().union(*roles))
    assert min(map(len, roles)) >= 20


@pytest.mark.parametrize("name", [name for name in zoo_entries() if "/" not in name])
def test_a_prior_of_the_zoo_brings_its_sampler_where_none_is_named(
    name: str, tmp_path: Path
) -> None:
    path, chosen = tmp_path / "recipe.yaml", read_json(zoo_folder(name) / "card.json")["sampler"]
    content = {
        "name": "own",
        "data": {"source": "cases", "scheme": {"core": 1}, "grid": {"shape": [8, 8, 8]}},
        "splits": {"num_test": 2, "num_validation": 1},
        "prior": {"zoo": name},
    }
    for asked, expected in (({}, chosen), ({"sampler": {"steps": 7}}, {"steps": 7})):
        path.write_text(yaml.safe_dump(content | {"generate": {"strength": 2.0} | asked}))
        generate = read_recipe(path).generate
        assert generate.strength == 2.0
        assert generate.sampler == Sampler.named(expected.get("name", "ddim"))(**expected)


def test_flips_of_one_side_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    content = {
        "name": "own",
        "data": {"source": "x", "scheme": {"left_a": 1}, "grid": {"shape": [8, 8, 8]}},
        "splits": {"num_test": 2, "num_validation": 1},
        "prior": {"zoo": "brain-mini-4mm"},
    }
    flips = {"study": {"augment": {"flip": True}}, "control": {"training": {"flip": True}}}
    path.write_text(yaml.safe_dump(content | flips))
    named = "control.training.flip and study.augment.flip: 'left_a' has no 'right_a'"
    with pytest.raises(RecipeError, match=named):
        read_recipe(path)
    path.write_text(yaml.safe_dump(content))
    recipe = read_recipe(path)
    training = recipe.prior.training
    assert not any((training.autoencoder.flip, training.diffusion.flip))
    assert not any((recipe.control.training.flip, recipe.study.augment.flip))
    assert recipe.conditions.steps[0].model_dump()["flip_probability"] == 0


def test_flips_of_a_prior_are_refused_where_sides_of_its_scalars_cannot_be_told(
    tmp_path: Path,
) -> None:
    path, grid = tmp_path / "recipe.yaml", {"shape": [8, 8, 8]}
    scalar = {"name": "left", "low": 0, "high": 9, "structures": ["LV"]}
    content = {
        "name": "own",
        "data": {"source": "x", "scheme": {"LV": 1, "RV": 2}, "grid": grid},
        "splits": {"num_test": 2, "num_validation": 1},
        "prior": {
            "spec": {"name": "own", "grid": grid, "scalars": [scalar]},
            "training": {"diffusion": {"flip": True}},
        },
    }
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(
        RecipeError, match=r"prior\.training\.diffusion\.flip: 'LV' and 'RV' differ"
    ):
        read_recipe(path)
    content["prior"]["spec"]["scalars"] = []
    path.write_text(yaml.safe_dump(content))
    assert read_recipe(path).prior.training.diffusion.flip  # images alone have no names
