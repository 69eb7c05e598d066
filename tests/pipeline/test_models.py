"""Priors and controls that are brought: of the zoo, or in a folder."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from making import make, prepare
from tiny import make_tiny_control, make_tiny_prior

from vcmaug.cohort.card import CohortCard
from vcmaug.config import merged
from vcmaug.control.base import rescaled
from vcmaug.data.seen import Seen
from vcmaug.errors import DataError, LeakError, ModelError, RecipeError
from vcmaug.files import read_json, sha256_of_file, write_json
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.prior import load_prior
from vcmaug.pipeline.artefacts.models import bring_prior
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import Work, claim_work

Write = Callable[[Mapping[str, Any]], Path]
GATES = {"num_samples": 8, "sampler": {"steps": 3}, "realism": {"channels": [4], "updates": 2}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished prior, whose card is as short as an imported one's."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_prior(folder / "prior")
    return folder


@pytest.fixture(scope="module")
def write(models: Path, recipe_path: Path) -> Write:
    """Writes a recipe beside the models; it names the prior by a path that starts there."""
    content = yaml.safe_load(recipe_path.read_text())
    content["prior"] = {"folder": "prior"}
    content["study"]["seeds"] = [0]
    content["gates"] = GATES

    def written(changes: Mapping[str, Any]) -> Path:
        path = models / f"recipe{len(list(models.glob('*.yaml')))}.yaml"
        path.write_text(yaml.safe_dump(merged(content, changes)))
        return path

    return written


@pytest.fixture(scope="module")
def finished(write: Write, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A work folder through all stages, on a prior from a folder."""
    work = claim_work(tmp_path_factory.mktemp("w") / "tiny", read_recipe(write({})), profile=None)
    make(Graph(work).report)
    return work


def test_a_prior_from_a_folder_goes_the_whole_way(finished: Work, models: Path) -> None:
    assert (finished.folder / "report.html").exists()
    assert str(models) not in str(Graph(finished).prior.now)  # it may be moved
    card = CohortCard.read(finished.replicates[0].cohort)
    assert card.prior_name == "tiny"
    assert card.seen.prior == Seen(images=("p1", "p2"))
    assert not make(Graph(finished).prior)
    make(Graph(finished).gates)
    result = read_json(finished.gates_file)
    assert [gate["gate"] for gate in result["gates"]][:3] == [
        "1-segmenter",
        "2-autoencoder",
        "3-prior",
    ]


def test_a_prior_of_another_grid_is_refused_before_anything_is_done(
    write: Write, tmp_path: Path
) -> None:
    grid = {"shape": [16, 16, 24], "orientation": "LAS"}
    recipe = read_recipe(write({"data": {"grid": grid}}))
    with pytest.raises(RecipeError) as caught:
        prepare(claim_work(tmp_path / "w", recipe, profile=None))
    message = str(caught.value)
    assert "data.grid.shape is (16, 16, 24), that of the prior in" in message
    assert "data.grid.orientation is LAS" in message
    assert "spacing" not in message
    assert not (tmp_path / "w" / "cases").exists()


def test_cells_that_the_codes_of_a_brought_prior_lack_are_refused_for_every_case(
    write: Write, models: Path, recipe_path: Path, tmp_path: Path
) -> None:
    """As BrainLDM brings them, for a table with other words: each would ask for the same sex."""
    sexed = shutil.copytree(models / "prior", models / "sexed")
    card = read_json(sexed / "card.json")
    scalar = {"name": "sex", "low": 0, "high": 1, "column": "sex", "codes": {"F": 0, "M": 1}}
    card["spec"]["scalars"][0] |= scalar
    card["scalar_fill"] = {"sex": 0.5, "core_volume": 2000.0}
    write_json(sexed / "card.json", card)
    source = shutil.copytree(recipe_path.parent / "source", tmp_path / "source")
    names = sorted(path.name.removesuffix(".nii.gz") for path in (source / "images").iterdir())
    table = ["case_id,sex", *(f"{name},{1 + n % 2}" for n, name in enumerate(names))]
    (source / "sex.csv").write_text("\n".join(table))
    data = {"source": str(source), "format": {"name": "folder", "table": "sex.csv"}}
    recipe = read_recipe(write({"prior": {"folder": "sexed"}, "data": data}))
    work = claim_work(tmp_path / "w", recipe, profile=None)
    with pytest.raises(DataError, match=rf"{len(names)} faults") as caught:
        make(Graph(work).report)
    assert "case b01, scalar 'sex', column 'sex': found 2, expected F, M" in str(caught.value)
    assert not any(replicate.control.exists() for replicate in work.replicates)


def test_its_weights_are_linked_and_its_card_is_copied(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = models / "prior"
    for target in (tmp_path, tmp_path):  # a second time over the first
        bring_prior(source, target, link=True)
    assert (tmp_path / "prior.safetensors").samefile(source / "prior.safetensors")
    assert not (tmp_path / "card.json").samefile(source / "card.json")

    def refuse(self: Path, target: Path) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    bring_prior(source, tmp_path / "copy", link=True)
    assert not (tmp_path / "copy" / "prior.safetensors").samefile(source / "prior.safetensors")
    for folder in (tmp_path, tmp_path / "copy"):
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
            "card.json",
            "prior.safetensors",
        ]
        for name in ("card.json", "prior.safetensors"):
            assert sha256_of_file(folder / name) == sha256_of_file(source / name)


def test_a_prior_of_a_folder_that_saw_a_test_subject_is_refused(
    finished: Work, write: Write, models: Path, tmp_path: Path
) -> None:
    make_tiny_prior(models / "leaky")
    card = read_json(models / "leaky" / "card.json")
    subject = read_json(finished.splits)["test"][0]
    write_json(models / "leaky" / "card.json", card | {"seen": {"images": [subject]}})
    recipe = read_recipe(write({"prior": {"folder": "leaky"}}))
    with pytest.raises(LeakError, match=f"subject {subject} of test or validation .* prior"):
        make(Graph(claim_work(tmp_path / "w", recipe, profile=None)).report)


def test_a_control_starts_from_a_folder_and_keeps_its_latent_scale(
    finished: Work, write: Write, models: Path
) -> None:
    first = finished.replicates[0].control
    card = read_json(first / "card.json")
    assert card["latent_scale"] == 1.0
    start = models / "first"
    start.mkdir()
    (start / "control.safetensors").write_bytes((first / "control.safetensors").read_bytes())
    seen = {"seen": {"images": ["elsewhere"], "labels": ["elsewhere"]}, "latent_scale": 0.5}
    write_json(start / "card.json", card | seen)
    recipe = read_recipe(write({"control": {"start_from": "first"}}))
    work = Work(finished.folder, recipe)
    assert make(Graph(work).control(work.replicates[0]))
    second = read_json(first / "card.json")
    assert second["started_from"] == f"{models.name}/first"
    assert second["latent_scale"] == rescaled(load_prior(work.prior), start).latent_scale == 0.5
    assert second["seen"]["before"]["labels"] == ["elsewhere"]
    assert "elsewhere" not in second["seen"]["labels"]


def test_what_is_not_there_is_said_before_anything_is_done(
    write: Write, models: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(write({"prior": {"folder": "gone"}, "control": {"start_from": "tisue4"}}))
    work = claim_work(tmp_path / "w", recipe, profile=None)
    with pytest.raises(RecipeError) as caught:
        make(Graph(work).report)
    for name in ("gone/prior.safetensors", "gone/card.json", "tisue4/control.safetensors"):
        assert f"there is no {models / name}" in str(caught.value)
    assert "brain-mini-4mm/tissue4" in str(caught.value)
    assert not work.cases.exists()
    own = Work(models, read_recipe(write({})))  # whose folder of the prior is the source
    with pytest.raises(RecipeError, match="own work folder; name another"):
        make(Graph(own).prior)


def test_a_recipe_names_one_prior_and_takes_its_sampler(write: Write, models: Path) -> None:
    make_tiny_prior(models / "chosen")
    chosen = {"steps": 7, "start": 0.5}
    path = models / "chosen" / "card.json"
    write_json(path, read_json(path) | {"sampler": chosen})
    recipe = read_recipe(write({"prior": {"folder": "chosen"}}))
    assert recipe.prior.source == models / "chosen"
    assert recipe.generate.sampler.steps == 3  # as the recipe says
    content = yaml.safe_load(write({"prior": {"folder": "chosen"}}).read_text())
    del content["generate"]["sampler"]
    other = models / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    assert read_recipe(other).generate.sampler == DDIM(**chosen)
    for both in ({"zoo": "brain-mini-4mm"}, {"folder": None, "spec": None}):
        with pytest.raises(RecipeError, match="exactly one of zoo"):
            read_recipe(write({"prior": both}))
    make_tiny_control(models / "control", models / "prior")
    with pytest.raises(ModelError, match="expected 'prior'"):
        read_recipe(write({"prior": {"folder": "control"}}))
