"""Shapes drawn from modes of signed distances."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.base import SourceMap
from vcmaug.conditions.shape_model import (
    ShapeModel,
    ShapeModelBuilder,
    ShapeModelSettings,
    learn_shape_model,
)
from vcmaug.data.labels import index_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

RADII = (4.0, 5.0, 6.0, 7.0)
SETTINGS = ShapeModelSettings(variance_kept=1.0)


def source(number: int, radius: float) -> SourceMap:
    label_map = tiny.label_map_of(radius=radius)
    return SourceMap(f"k{number}", f"s{number}", label_map, {"age": 30.0 + number})


SOURCES = [source(number, radius) for number, radius in enumerate(RADII)]


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return learn_shape_model(SOURCES, tiny.SCHEME, SETTINGS)


def build(model: ShapeModel, *, seed: int, **settings: float) -> NDArray[np.uint16]:
    builder = ShapeModelBuilder(ShapeModelSettings(**settings), tiny.SCHEME, model)
    return builder.build(SOURCES[0], condition_id="c0", seed=seed).label_map.array


def test_every_map_it_was_learned_of_can_be_made_again(model: ShapeModel) -> None:
    """Coefficients by projection on the modes, as linear algebra has it."""
    modes = model.modes.reshape(len(model.modes), -1).astype(float)
    for one in SOURCES:
        indices = index_map(one.label_map.array, tiny.SCHEME)
        single = learn_shape_model([one, one, one], tiny.SCHEME, SETTINGS).mean
        centred = (single - model.mean).reshape(-1).astype(float)
        coefficients = modes @ centred / (modes**2).sum(axis=1)
        assert (model.shape_of(coefficients) == indices).mean() > 0.999


def test_the_main_mode_is_size_and_the_limit_holds(model: ShapeModel) -> None:
    sizes = [
        int((model.shape_of(np.eye(len(model.modes))[0] * k) > 0).sum()) for k in (-1.5, 0, 1.5)
    ]
    assert sizes in (sorted(sizes), sorted(sizes, reverse=True))
    assert max(sizes) > 1.5 * min(sizes)
    builder = ShapeModelBuilder(ShapeModelSettings(max_deviations=0.5), tiny.SCHEME, model)
    for seed in range(20):
        made = builder.build(SOURCES[0], condition_id="c0", seed=seed)
        assert max(abs(value) for value in made.parameters["coefficients"]) <= 0.5


def test_a_drawn_map_has_every_structure_in_one_part_and_says_whom_it_is_made_of(model):
    builder = ShapeModelBuilder(SETTINGS, tiny.SCHEME, model)
    made = builder.build(SOURCES[1], condition_id="c7", seed=5)
    assert set(np.unique(made.label_map.array)) == {0, *tiny.SCHEME.values}
    assert made.source_case_ids == ("k0", "k1", "k2", "k3")
    assert made.source_subject_ids == ("s0", "s1", "s2", "s3")
    assert made.row["age"] == 31.0
    assert made.row["volume_core_mm3"] == 8.0 * (made.label_map.array == 2).sum()


def test_same_seed_same_map_other_seed_another(model: ShapeModel) -> None:
    assert np.array_equal(build(model, seed=1), build(model, seed=1))
    assert not np.array_equal(build(model, seed=1), build(model, seed=2))


def test_it_is_placed_where_the_source_lies(model: ShapeModel) -> None:
    moved = Volume(np.roll(SOURCES[0].label_map.array, 1, axis=0), tiny.AFFINE)
    builder = ShapeModelBuilder(SETTINGS, tiny.SCHEME, model)
    here, there = (
        builder.build(SourceMap("k", "s", one, {}), condition_id="c0", seed=3).label_map.array
        for one in (SOURCES[0].label_map, moved)
    )
    assert np.array_equal(np.roll(here, 1, axis=0), there)


def test_the_file_holds_what_was_learned(model: ShapeModel, tmp_path: Path) -> None:
    model.write(tmp_path / "shape_model.npz")
    read = ShapeModel.read(tmp_path / "shape_model.npz")
    assert read.case_ids == model.case_ids
    np.testing.assert_allclose(read.modes, model.modes, atol=5e-3)
    for seed in range(5):
        assert (build(read, seed=seed) == build(model, seed=seed)).mean() > 0.995


def test_two_maps_are_too_few_and_a_missing_structure_is_named() -> None:
    with pytest.raises(DataError, match="from 2 label maps: expected 3 or more"):
        learn_shape_model(SOURCES[:2], tiny.SCHEME, SETTINGS)
    bare = SourceMap("k9", "s9", Volume(np.minimum(SOURCES[0].label_map.array, 1), tiny.AFFINE), {})
    with pytest.raises(DataError, match="case k9 has no core"):
        learn_shape_model([*SOURCES, bare], tiny.SCHEME, SETTINGS)


def test_islands_become_background_and_their_share_is_recorded(model: ShapeModel) -> None:
    """A mean with a lone voxel of core far from the ball."""
    mean = model.mean.copy()
    mean[2, 1, 1, 1] = -99.0
    island = ShapeModel(mean, model.modes, model.case_ids, model.subject_ids, model.num_components)
    drawn = island.shape_of(np.zeros(len(model.modes)))
    assert drawn[1, 1, 1] == 2
    builder = ShapeModelBuilder(SETTINGS, tiny.SCHEME, island)
    made = builder.build(SOURCES[0], condition_id="c0", seed=0)
    core = made.label_map.array == 2
    assert ndimage.label(core)[1] == 1
    assert 0 < made.checks["share_removed"] < 0.05
