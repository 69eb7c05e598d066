"""Preparing, training, conditions and single draws by the face, and what they refuse."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

import vcmaug as va
from vcmaug.conditions.conditions import Conditions
from vcmaug.errors import LeakError, ModelError, RecipeError
from vcmaug.ldm.weights import hash_of_weights

NETWORK = va.VCM(**tiny.LAID_OUT)


def test_a_list_of_names_stands_for_the_values_from_one(cases: va.Cases, balls: Path) -> None:
    named = va.prepare(balls, scheme={"shell": 1, "core": 2}, grid=tiny.GRID, max_cases=1)
    assert cases.scheme == named.scheme
    assert cases.scheme.values == (1, 2)
    assert (len(cases), len(named)) == (10, 1)
    assert repr(named) == f"<Cases: 1 in {named.folder}>"


def test_an_unknown_argument_is_answered_with_the_nearest(balls: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'max_cases'"):
        va.prepare(balls, scheme=["shell", "core"], grid=tiny.GRID, max_case=1)


def test_temporary_folders_go_with_the_process(balls: Path) -> None:
    words = f"""
import vcmaug as va
grid = va.Grid(shape=(16, 16, 16))
cases = va.prepare({str(balls)!r}, scheme=["shell", "core"], grid=grid, max_cases=1)
assert cases[0].image.exists()
print(cases.folder)
"""
    ended = subprocess.run(
        [sys.executable, "-c", words], check=True, capture_output=True, text=True
    )
    folder = Path(ended.stdout.strip())
    assert folder.parent.name.startswith("vcmaug-")
    assert not folder.parent.exists()


def test_cases_of_a_split_know_the_roles_of_all(split) -> None:
    assert sorted(set(split.train.roles.values())) == ["test", "train", "validation"]
    assert split.train.labelled(2, seed=0).roles == split.test.roles
    assert {split.test.roles[subject] for subject in split.test.subjects} == {"test"}


def test_held_out_subjects_are_refused(split, prior: va.Prior) -> None:
    with pytest.raises(LeakError, match="belongs to test or validation"):
        va.conditions(split.test, tiny.PERTURB, n=1)
    with pytest.raises(LeakError, match="belongs to test or validation"):
        va.train(NETWORK, split.validation, prior=prior, updates=1)


def test_a_prior_of_the_zoo_is_loaded_by_its_name() -> None:
    prior = va.Prior.load("zoo:hippocampus-1mm")
    assert prior.folder is not None
    assert prior.spec.name in prior.card.name
    with pytest.raises(ModelError, match="no such entry"):
        va.Prior.load("zoo:hippocampus")


def test_a_training_in_a_folder_is_found_there_again(
    split, prior: va.Prior, tmp_path: Path
) -> None:
    few = split.train.labelled(2, seed=0)
    settings = {"updates": 2, "batch_size": 2, "deformed_copies": 0}
    control = va.train(NETWORK, few, prior=prior, folder=tmp_path, **settings)
    again = va.train(NETWORK, few, prior=prior, folder=tmp_path, **settings)
    loaded = va.load_control(tmp_path, prior=prior)
    hashes = {hash_of_weights(one.network.state_dict()) for one in (control, again, loaded)}
    assert hashes == {control.card.weights_sha256}
    with pytest.raises(RecipeError, match="did you mean 'updates'"):
        va.train(NETWORK, few, prior=prior, update=2)


def test_a_control_can_start_from_another(split, prior: va.Prior, tmp_path: Path) -> None:
    few = split.train.labelled(2, seed=0)
    settings = {"batch_size": 2, "deformed_copies": 0}
    va.train(NETWORK, few, prior=prior, folder=tmp_path, updates=1, **settings)
    second = va.train(NETWORK, few, prior=prior, start_from=tmp_path, updates=1, **settings)
    assert second.card.started_from


def test_a_prior_is_trained_without_labels(split, prior: va.Prior) -> None:
    updates = {"updates": 1, "batch_size": 2}
    diffusion = {**updates, "deformed_copies": 0}
    trained = va.train_prior(split.train, prior.spec, autoencoder=updates, diffusion=diffusion)
    assert trained.card.seen.images == tuple(sorted(split.train.subjects))
    assert trained.folder is not None


def test_conditions_are_a_sequence_that_is_read_when_needed(asked: Conditions) -> None:
    assert len(asked) == 6
    assert asked[-1].condition_id == "c000005"
    assert [one.condition_id for one in asked[1:3]] == ["c000001", "c000002"]
    assert asked[0].label_map.shape == tiny.GRID.shape
    assert asked.table["condition_id"].iloc[0] == "c000000"


def test_lazy_conditions_are_the_same(split, prior: va.Prior, asked: Conditions) -> None:
    few = split.train.labelled(2, seed=0)
    lazy = va.conditions(few, va.chains([tiny.PERTURB]), n=6, seed=5, prior=prior, lazy=True)
    assert not (lazy.folder / "maps").exists()
    assert np.array_equal(lazy[3].label_map.array, asked[3].label_map.array)


def test_one_condition_gives_a_volume_and_several_an_array(
    prior: va.Prior, control: va.Control, asked: Conditions
) -> None:
    draw = va.Drawer(prior, control, sampler=va.DDIM(steps=2, start=0.65), strength=1.5)
    image = draw(asked[0])
    assert image.shape == tiny.GRID.shape
    assert np.array_equal(image.affine, asked[0].label_map.affine)
    noise = va.Noise(0, ["c000000"])
    assert np.array_equal(image.array, draw([asked[0]], noise)[0])
    several = draw(asked[:2])
    assert several.shape == (2, *tiny.GRID.shape)
    np.testing.assert_allclose(several[0], image.array, atol=1e-4)
    assert not np.array_equal(draw(asked[0], va.Noise(1, ["c000000"])).array, image.array)


def test_scalars_are_those_of_the_condition(prior: va.Prior, asked: Conditions) -> None:
    named = asked[0].values_of(prior.spec.scalars)
    core = int((asked[0].label_map.array == 2).sum()) * 8.0  # mm3 of a voxel of 2 mm
    assert named["core_volume"] == pytest.approx(core)


def test_a_prior_alone_draws_on_its_own_grid(prior: va.Prior) -> None:
    image = va.Drawer(prior, sampler=va.DDIM(steps=2))(va.Target(scalars={"age": 40.0}))
    assert image.spacing_mm == tiny.GRID.spacing_mm
    assert image.orientation == "RAS"
    middle = (np.array(image.shape) - 1) / 2
    np.testing.assert_allclose(image.affine @ [*middle, 1], [0, 0, 0, 1], atol=1e-9)
