"""Shapes drawn from modes of signed distances."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.base import Condition, SourceMap, as_it_is, recomputed
from vcmaug.conditions.shape_builder import ShapeModelBuilder, ShapeModelSettings
from vcmaug.conditions.shape_model import ShapeModel, learn_shape_model
from vcmaug.data.labels import index_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

RADII = (4.0, 5.0, 6.0, 7.0)
SETTINGS = ShapeModelSettings(variance_kept=1.0)


def source(number: int, radius: float) -> SourceMap:
    label_map = tiny.label_map_of(radius=radius)
    return SourceMap(f"k{number}", f"s{number}", label_map, {"age": 30.0 + number})


CORES = [
    SourceMap(f"c{n}", f"c{n}", tiny.label_map_of(radius=7.0, core=core), {})
    for n, core in enumerate((1.5, 2.0, 2.5, 3.0))
]
SOURCES = [source(number, radius) for number, radius in enumerate(RADII)]


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return learn_shape_model(SOURCES, tiny.SCHEME, variance_kept=1.0)


def build(model: ShapeModel, *, seed: int, **settings: float) -> NDArray[np.uint16]:
    builder = ShapeModelBuilder(ShapeModelSettings(**settings), tiny.SCHEME, model)
    return started(builder, seed=seed).label_map.array


def started(builder: ShapeModelBuilder, source: SourceMap = SOURCES[0], *, seed: int) -> Condition:
    """Return a condition of a source after the builder's step."""
    start = as_it_is(source, condition_id="c0", inherit=("age",))
    return builder.build(start, seed=seed)


def test_every_map_it_was_learned_of_can_be_made_again(model: ShapeModel) -> None:
    """Coefficients by projection on the modes, as linear algebra has it."""
    modes = model.modes.reshape(len(model.modes), -1).astype(float)
    for one in SOURCES:
        indices = index_map(one.label_map.array, tiny.SCHEME)
        single = learn_shape_model([one, one, one], tiny.SCHEME, variance_kept=1.0).mean
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
        drawn = started(builder, seed=seed).steps[0].parameters["coefficients"]
        assert max(abs(value) for value in drawn) <= 0.5


def test_a_drawn_map_has_every_structure_in_one_part_and_says_whom_it_is_made_of(model):
    builder = ShapeModelBuilder(SETTINGS, tiny.SCHEME, model)
    made = started(builder, SOURCES[1], seed=5)
    row = recomputed(made.row, made.label_map, scheme=tiny.SCHEME)
    assert set(np.unique(made.label_map.array)) == {0, *tiny.SCHEME.values}
    assert made.source_case_ids == ("k1", "k0", "k2", "k3")
    assert made.source_subject_ids == ("s1", "s0", "s2", "s3")
    assert row["age"] == 31.0
    assert row["volume_core_mm3"] == 8.0 * (made.label_map.array == 2).sum()


def test_same_seed_same_map_other_seed_another(model: ShapeModel) -> None:
    assert np.array_equal(build(model, seed=1), build(model, seed=1))
    assert not np.array_equal(build(model, seed=1), build(model, seed=2))


def test_it_is_placed_where_the_source_lies(model: ShapeModel) -> None:
    moved = Volume(np.roll(SOURCES[0].label_map.array, 1, axis=0), tiny.AFFINE)
    builder = ShapeModelBuilder(SETTINGS, tiny.SCHEME, model)
    here, there = (
        started(builder, SourceMap("k", "s", one, {}), seed=3).label_map.array
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
        learn_shape_model(SOURCES[:2], tiny.SCHEME)
    bare = SourceMap("k9", "s9", Volume(np.minimum(SOURCES[0].label_map.array, 1), tiny.AFFINE), {})
    with pytest.raises(DataError, match="case k9 has no core"):
        learn_shape_model([*SOURCES, bare], tiny.SCHEME)


def test_islands_take_the_label_around_them(model: ShapeModel) -> None:
    """A mean with a lone voxel of core far from the ball."""
    mean = model.mean.copy()
    mean[2, 1, 1, 1] = -99.0
    island = ShapeModel(mean, model.modes, model.case_ids, model.subject_ids, model.topology)
    drawn = island.shape_of(np.zeros(len(model.modes)))
    assert drawn[1, 1, 1] == 2
    made = started(ShapeModelBuilder(SETTINGS, tiny.SCHEME, island), seed=0)
    assert ndimage.label(made.label_map.array == 2)[1] == 1
    assert made.label_map.array[1, 1, 1] == 0


def test_one_structure_is_drawn_and_the_others_stay(model: ShapeModel) -> None:
    """Only the core is drawn anew, at a volume of its own: 60 voxels of 8 mm3."""
    settings = ShapeModelSettings(structures=("core",), volumes_mm3={"core": 480.0})
    learned = learn_shape_model(CORES, tiny.SCHEME.only(["core"]))
    made = started(ShapeModelBuilder(settings, tiny.SCHEME, learned), CORES[0], seed=2)
    before, after = CORES[0].label_map.array, made.label_map.array
    assert np.array_equal(before > 0, after > 0)
    assert np.count_nonzero(after == 2) == 60
