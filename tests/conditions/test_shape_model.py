"""Shapes drawn from modes of signed distances."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.conditions.base import Condition, SourceMap, as_it_is, recomputed
from vcmaug.conditions.builders.shape_model import ShapeDrawing, ShapeModel
from vcmaug.conditions.learned_shapes import LearnedShapes, learn_shapes
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

RADII = (4.0, 5.0, 6.0, 7.0)
SETTINGS = ShapeModel(variance_kept=1.0)


def source(number: int, radius: float) -> SourceMap:
    label_map = tiny.label_map_of(radius=radius)
    return SourceMap(f"k{number}", f"s{number}", label_map, {"age": 30.0 + number})


CORES = [
    SourceMap(f"c{n}", f"c{n}", tiny.label_map_of(radius=7.0, core=core), {})
    for n, core in enumerate((1.5, 2.0, 2.5, 3.0))
]
SOURCES = [source(number, radius) for number, radius in enumerate(RADII)]


@pytest.fixture(scope="module")
def model() -> LearnedShapes:
    return learn_shapes(SOURCES, tiny.SCHEME, variance_kept=1.0)


def build(model: LearnedShapes, *, seed: int, **settings: float) -> NDArray[np.uint16]:
    builder = ShapeDrawing(ShapeModel(**settings), tiny.SCHEME, model)
    return started(builder, seed=seed).label_map.array


def started(builder: ShapeDrawing, source: SourceMap = SOURCES[0], *, seed: int) -> Condition:
    """Return a condition of a source after the builder's step."""
    start = as_it_is(source, condition_id="c0", inherit=("age",))
    return builder.build(start, seed=seed)


def test_every_map_it_was_learned_of_can_be_made_again(model: LearnedShapes) -> None:
    """Coefficients by projection on the modes, as linear algebra has it."""
    modes = model.modes.reshape(len(model.modes), -1).astype(float)
    for one in SOURCES:
        indices = tiny.SCHEME.channels(one.label_map.array)
        single = learn_shapes([one, one, one], tiny.SCHEME, variance_kept=1.0).mean
        centred = (single - model.mean).reshape(-1).astype(float)
        coefficients = modes @ centred / (modes**2).sum(axis=1)
        assert (model.shape_of(coefficients) == indices).mean() > 0.999


def test_the_main_mode_is_size_and_the_limit_holds(model: LearnedShapes) -> None:
    sizes = [
        int((model.shape_of(np.eye(len(model.modes))[0] * k) > 0).sum()) for k in (-1.5, 0, 1.5)
    ]
    assert sizes in (sorted(sizes), sorted(sizes, reverse=True))
    assert max(sizes) > 1.5 * min(sizes)
    builder = ShapeDrawing(ShapeModel(max_deviations=0.5), tiny.SCHEME, model)
    for seed in range(20):
        drawn = started(builder, seed=seed).steps[0].parameters["coefficients"]
        assert max(abs(value) for value in drawn) <= 0.5


def test_a_drawn_map_has_every_structure_in_one_part_and_says_whom_it_is_made_of(model):
    builder = ShapeDrawing(SETTINGS, tiny.SCHEME, model)
    made = started(builder, SOURCES[1], seed=5)
    row = recomputed(made.row, made.label_map, scheme=tiny.SCHEME)
    assert set(np.unique(made.label_map.array)) == {0, *tiny.SCHEME.values}
    assert made.source_case_ids == ("k1", "k0", "k2", "k3")
    assert made.source_subject_ids == ("s1", "s0", "s2", "s3")
    assert row["age"] == 31.0
    assert row["volume_core_mm3"] == 8.0 * (made.label_map.array == 2).sum()


def test_same_seed_same_map_other_seed_another(model: LearnedShapes) -> None:
    assert np.array_equal(build(model, seed=1), build(model, seed=1))
    assert not np.array_equal(build(model, seed=1), build(model, seed=2))


def test_it_is_placed_where_the_source_lies(model: LearnedShapes) -> None:
    moved = Volume(np.roll(SOURCES[0].label_map.array, 1, axis=0), tiny.AFFINE)
    builder = ShapeDrawing(SETTINGS, tiny.SCHEME, model)
    here, there = (
        started(builder, SourceMap("k0", "s0", one, {}), seed=3).label_map.array
        for one in (SOURCES[0].label_map, moved)
    )
    assert np.array_equal(np.roll(here, 1, axis=0), there)


def test_maps_that_lie_turned_are_aligned_and_drawn_in_their_own_pose() -> None:
    """One long body with a core off its middle, turned by up to 25 degrees: no shape varies."""
    turns = (0, 15, -25, 10)
    scheme = LabelScheme.from_mapping({"body": 1, "core": 2})
    sources = [
        SourceMap(f"t{n}", f"t{n}", Volume(long_body(degrees), np.eye(4)), {})
        for n, degrees in enumerate(turns)
    ]
    learned = learn_shapes(sources, scheme, variance_kept=1.0)
    for degrees, pose in zip(turns, learned.poses, strict=True):
        turned = np.rad2deg(np.arctan2(pose[1, 0], pose[0, 0]))
        assert turned == pytest.approx(degrees, abs=2.0)
    assert np.square(learned.modes).sum(axis=0).max() < 2.0  # mm2; of distances up to 8 mm
    made = started(ShapeDrawing(SETTINGS, scheme, learned), sources[2], seed=0)
    before, after = sources[2].label_map.array, made.label_map.array
    for value in (1, 2):
        both = np.count_nonzero((before == value) & (after == value))
        sizes = np.count_nonzero(before == value) + np.count_nonzero(after == value)
        assert 2 * both / sizes > 0.9


def long_body(degrees: float) -> NDArray[np.uint16]:
    """Return an ellipsoid turned about the third axis, with a ball in one half."""
    places = np.indices((40, 40, 24)) - np.array([19.5, 19.5, 11.5]).reshape(3, 1, 1, 1)
    angle = np.deg2rad(degrees)
    x = np.cos(angle) * places[0] + np.sin(angle) * places[1]
    y = -np.sin(angle) * places[0] + np.cos(angle) * places[1]
    body = (x / 15) ** 2 + (y / 8) ** 2 + (places[2] / 8) ** 2 < 1
    core = (x - 6) ** 2 + y**2 + places[2] ** 2 < 16
    return (body.astype(np.uint16) + (body & core)).astype(np.uint16)


def test_the_file_holds_what_was_learned(model: LearnedShapes, tmp_path: Path) -> None:
    model.write(tmp_path / "shape_model.npz")
    read = LearnedShapes.read(tmp_path / "shape_model.npz")
    assert read.case_ids == model.case_ids
    np.testing.assert_allclose(read.modes, model.modes, atol=5e-3)
    for seed in range(5):
        assert (build(read, seed=seed) == build(model, seed=seed)).mean() > 0.995


def test_two_maps_are_too_few_and_a_missing_structure_is_named() -> None:
    with pytest.raises(DataError, match="from 2 label maps: expected 3 or more"):
        learn_shapes(SOURCES[:2], tiny.SCHEME)
    bare = SourceMap("k9", "s9", Volume(np.minimum(SOURCES[0].label_map.array, 1), tiny.AFFINE), {})
    with pytest.raises(DataError, match="case k9 has no core"):
        learn_shapes([*SOURCES, bare], tiny.SCHEME)


def test_islands_take_the_label_around_them(model: LearnedShapes) -> None:
    """A mean with a lone voxel of core far from the ball."""
    mean = model.mean.copy()
    mean[2, 1, 1, 1] = -99.0
    island = replace(model, mean=mean)
    drawn = island.shape_of(np.zeros(len(model.modes)))
    assert drawn[1, 1, 1] == 2
    made = started(ShapeDrawing(SETTINGS, tiny.SCHEME, island), seed=0)
    assert ndimage.label(made.label_map.array == 2)[1] == 1
    assert made.label_map.array[1, 1, 1] == 0


def test_one_structure_is_drawn_and_the_others_stay(model: LearnedShapes) -> None:
    """Only the core is drawn anew, at a volume of its own: 60 voxels of 8 mm3."""
    settings = ShapeModel(structures=("core",), volumes_mm3={"core": 480.0})
    learned = learn_shapes(CORES, tiny.SCHEME.only(["core"]))
    made = started(ShapeDrawing(settings, tiny.SCHEME, learned), CORES[0], seed=2)
    before, after = CORES[0].label_map.array, made.label_map.array
    assert np.array_equal(before > 0, after > 0)
    assert np.count_nonzero(after == 2) == 60
