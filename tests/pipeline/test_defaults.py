"""What a recipe leaves out: the settings that were measured, on a grid of the size of its data."""

import re
from pathlib import Path

import pytest
import yaml

from vcmaug.config import parse_settings
from vcmaug.errors import RecipeError
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.plan import GenerateSettings
from vcmaug.pipeline.recipe import Recipe, read_recipe
from vcmaug.training.settings import TrainingSettings

ROOT = Path(__file__).parents[2]
HIPPOCAMPUS = ROOT / "recipes" / "hippocampus"
OWN = {"name", "title", "data_note", "prior.licence", "prior.spec.name", "control.licence"}
OF_DATA = {f"data.format.{name}" for name in ("name", "images", "labels", "table_key")}
OF_DATA |= {"splits.num_test", "splits.num_validation"}
QUESTION = {
    "study.arms",
    "study.num_labelled",
    *(f"gates.{name}" for name in ("num_labelled", "num_samples", "realism.updates")),
}
"""What a study asks and how its gates measure; no setting of what it trains."""


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCMAUG_DATA", "data")


def recipe_of(**sections: object) -> Recipe:
    """Return the recipe of some data, or with further sections."""
    data: object = {"source": "x", "scheme": {"a": 1}, "grid": {"shape": [32, 48, 32]}}
    return parse_settings(Recipe, {"name": "own", "data": data} | sections, source="own.yaml")


def on_grid(shape: list[int], mm: float) -> Recipe:
    """Return the recipe of data on a grid."""
    grid = {"shape": shape, "spacing_mm": [mm] * 3}
    return recipe_of(data={"source": "x", "scheme": {"a": 1}, "grid": grid})


def differences(first: object, second: object, place: str = "") -> set[str]:
    """Return the places in which two dumps differ."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return set() if first == second else {place.removeprefix(".")}
    names = {*first, *second}
    found = [differences(first.get(n), second.get(n), f"{place}.{n}") for n in names]
    return set().union(*found)


def test_the_data_alone_mean_what_the_hippocampus_recipe_says() -> None:
    content = yaml.safe_load((HIPPOCAMPUS / "from-defaults.yaml").read_text())
    assert set(content) == {"data", "splits"}
    alone = read_recipe(HIPPOCAMPUS / "from-defaults.yaml")
    ready = read_recipe(HIPPOCAMPUS / "recipe.yaml")
    found = differences(alone.model_dump(mode="json"), ready.model_dump(mode="json"))
    widths = {f"control.network.{name}" for name in ("channels", "encoder_channels")}
    widths.add("control.network.hidden_channels")  # as the prior's grid needs, see below
    assert found == OWN | OF_DATA | QUESTION | widths
    shapes = [
        {
            name: tuple(weight.shape)
            for name, weight in one.control.network.network(
                one.prior.spec_to_train, num_structures=2
            ).named_parameters()
        }
        for one in (alone, ready)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("profile", [None, "4mm"])
def test_whole_heads_get_no_less_than_their_recipe_shows(profile: str | None) -> None:
    shown = read_recipe(ROOT / "recipes" / "brain-mini" / "recipe.yaml", profile=profile)
    grid = shown.data.grid
    own = on_grid(list(grid.shape), grid.spacing_mm[0])
    for room in ("prior.training.autoencoder", "prior.training.diffusion", "control.training"):
        mine, theirs = own, shown
        for name in room.split("."):
            mine, theirs = getattr(mine, name), getattr(theirs, name)
        assert isinstance(mine, TrainingSettings)
        assert mine.updates >= theirs.updates, room
        assert mine.batch_size >= theirs.batch_size, room
    assert own.study.fit.updates >= shown.study.fit.updates
    assert own.evaluator.updates >= shown.evaluator.updates
    mine, theirs = own.prior.spec_to_train, shown.prior.spec_to_train
    assert mine.latent_factor == theirs.latent_factor
    assert mine.autoencoder.latent_channels >= theirs.autoencoder.latent_channels
    assert mine.diffusion.channels == theirs.diffusion.channels
    assert mine.diffusion.num_res_blocks == theirs.diffusion.num_res_blocks
    assert own.conditions.chains == shown.conditions.chains[:1] or (
        own.conditions.steps[0].model_dump(exclude={"flip_probability"})
        == shown.conditions.steps[0].model_dump(exclude={"flip_probability"})
    )


@pytest.mark.parametrize(
    "shape", [(8, 8, 8), (32, 48, 32), (40, 48, 40), (64, 64, 64), (72, 88, 72), (160, 192, 160)]
)
def test_any_grid_that_can_be_halved_gets_networks(shape: tuple[int, int, int]) -> None:
    recipe = on_grid(list(shape), 1.0)
    spec = recipe.prior.spec_to_train
    assert spec.latent_factor in (4, 8)
    assert recipe.control.network.network(spec, num_structures=1).layout is not None


def test_what_is_said_stands_and_the_rest_is_filled_in() -> None:
    said = {
        "training": {"diffusion": {"updates": 7}},
        "spec": {"diffusion": {"channels": [16, 32]}},
    }
    recipe = recipe_of(prior=said, control="mcm", generate={"sampler": {"start": 0.8}})
    assert recipe.prior.training.diffusion.updates == 7
    assert recipe.prior.training.autoencoder.updates == 3000
    assert recipe.prior.spec_to_train.diffusion.channels == (16, 32)
    assert recipe.prior.spec_to_train.grid == recipe.data.grid
    assert recipe.control.network.name == "mcm"
    assert recipe.control.training.timesteps == 0.8  # from where draws start
    assert recipe_of(prior={"zoo": "hippocampus-1mm"}).prior.spec is None
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(("schedule", "start"), [("epsilon", 0.65), ("flow", 0.96)])
def test_draws_and_controls_start_where_the_kind_of_prior_does(schedule: str, start: float) -> None:
    recipe = recipe_of(prior={"spec": {"schedule": schedule}})
    known = recipe.prior.spec_to_train.schedule
    assert recipe.generate.sampler.start_on(known) == start
    assert recipe.gates.sampler.start_on(known) == start
    assert recipe.control.training.trained_on(known) == start
    with pytest.raises(RecipeError, match=rf"steered from {start} of the schedule on"):
        recipe_of(prior={"spec": {"schedule": schedule}}, control={"training": {"timesteps": 0.6}})


def test_an_endpoint_is_a_structure() -> None:
    assert recipe_of(study={"endpoints": ["a"]}).study.endpoints == ("a",)
    with pytest.raises(RecipeError, match=r"study\.endpoints: found 'b', expected a structure of"):
        recipe_of(study={"endpoints": ["b"]})


def test_a_wrong_grid_is_the_only_fault() -> None:
    data = {"source": "x", "scheme": {"a": 1}, "grid": {"shape": [32, 48]}}
    with pytest.raises(RecipeError, match=r"1 fault\n.*data\.grid\.shape"):
        recipe_of(data=data)


def test_both_doors_draw_alike() -> None:
    drawer = Drawer.__dataclass_fields__
    assert drawer["strength"].default == GenerateSettings().strength
    assert drawer["sampler"].default_factory() == GenerateSettings().sampler


def test_a_recipe_is_called_as_its_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "My study").mkdir()
    content = {"data": {"source": "x", "scheme": {"a": 1}, "grid": {"shape": [32, 48, 32]}}}
    for file, name in (("recipe.yaml", "my-study"), ("Two_2.yaml", "two-2")):
        path = tmp_path / "My study" / file
        path.write_text(yaml.safe_dump(content))
        assert read_recipe(path).name == read_recipe(path).prior.spec_to_train.name == name


def test_the_recipe_of_the_readme_says_data_and_scheme_alone(tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    path = tmp_path / "mine.yaml"
    path.write_text(found.group(1))
    assert set(yaml.safe_load(found.group(1))) == {"data"}
    assert read_recipe(path).name == "mine"
