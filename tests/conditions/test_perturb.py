"""Perturbed maps: one seed one map, no structure lost, hopeless draws refused."""

import numpy as np
import pytest
import tiny
from scipy import ndimage

from vcmaug.conditions.base import SourceMap, as_it_is, recomputed
from vcmaug.conditions.builder import aligned_image
from vcmaug.conditions.builders.perturb import Perturb, PerturbDraw
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.conditions.resize import side_weights
from vcmaug.conditions.topology import counts_of, parts_of
from vcmaug.data.geometry import reorient
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

SOURCE = SourceMap(
    "k0", "s0", tiny.label_map_of(radius=6.0), {"age": 41.0, "sex": "M", "site": "B"}
)


def topology(indices, num_structures):
    """Return parts and cavities of each structure."""
    return counts_of(parts_of(indices, num_structures))


def built(seed: int = 3, **settings):
    """Return a condition of the source."""
    builder = Perturb(**settings).ready(tiny.SCHEME)
    start = as_it_is(SOURCE, condition_id="c0", inherit=("age", "sex"))
    return builder.build(start, seed=seed)


def row_of(condition):
    """Return the columns of a condition."""
    return recomputed(condition.row, condition.label_map, scheme=tiny.SCHEME)


def test_the_seed_decides_everything():
    first, same, other = built(3), built(3), built(4)
    assert np.array_equal(first.label_map.array, same.label_map.array)
    assert first.steps == same.steps
    assert not np.array_equal(first.label_map.array, other.label_map.array)


@pytest.mark.parametrize("seed", range(5))
def test_every_structure_survives_without_a_fold(seed):
    condition = built(seed)
    assert set(np.unique(condition.label_map.array)) == {0, 1, 2}
    assert condition.steps[0].checks["min_jacobian"] > 0
    assert np.array_equal(condition.label_map.affine, SOURCE.label_map.affine)


def test_volumes_are_the_new_maps_and_age_is_the_sources():
    condition = built()
    array = condition.label_map.array
    assert row_of(condition)["volume_core_mm3"] == 8.0 * np.count_nonzero(array == 2)  # 2 mm voxels
    assert row_of(condition)["volume_shell_mm3"] == 8.0 * np.count_nonzero(array == 1)
    assert (condition.row["age"], condition.row["sex"]) == (41.0, "M")
    assert "site" not in condition.row
    assert condition.source_subject_ids == ("s0",)


def test_other_columns_are_inherited_on_request():
    start = as_it_is(SOURCE, condition_id="c0", inherit=("site", "absent"))
    made = Perturb().ready(tiny.SCHEME).build(start, seed=0)
    assert set(row_of(made)) == {"site", "volume_shell_mm3", "volume_core_mm3"}


def test_no_displacement_is_the_source():
    nearly = built(min_displacement_mm=0.0, max_displacement_mm=1e-6)
    assert np.array_equal(nearly.label_map.array, SOURCE.label_map.array)


def test_a_mirror_keeps_volumes():
    mirrored = built(flip_probability=1.0, min_displacement_mm=0.0, max_displacement_mm=1e-6)
    assert mirrored.steps[0].parameters["mirrored"]
    assert np.array_equal(mirrored.label_map.array, SOURCE.label_map.array[::-1])
    spacing = SOURCE.label_map.spacing_mm
    before = volumes_mm3(SOURCE.label_map.array, tiny.SCHEME, spacing)
    assert {name: row_of(mirrored)[f"volume_{name}_mm3"] for name in before} == before


def test_a_draw_that_always_folds_is_refused():
    with pytest.raises(DataError, match=r"case k0: 2 draws were refused \(2 for folds\)"):
        built(min_displacement_mm=60.0, max_displacement_mm=60.0, smoothness_mm=2.0, max_tries=2)


BALLS = LabelScheme.from_mapping({"left_ball": 1, "right_ball": 2, "rest": 3})


def two_balls(shape=(40, 30, 30)):
    """Return a block of rest with a ball to the left and one to the right, 1 mm."""
    places = np.indices(shape, dtype=float)
    array = np.zeros(shape, dtype=np.uint16)
    array[2:-2, 2:-2, 2:-2] = 3
    for value, x in ((1, 10.0), (2, 29.0)):
        away = np.sqrt(sum((p - c) ** 2 for p, c in zip(places, (x, 15, 15), strict=True)))
        array[away < 6] = value
    return SourceMap("b0", "b", Volume(array, np.eye(4)), {})


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 0), ("LAS", 0), ("PIR", 2)])
def test_in_a_mirror_left_and_right_change_places(orientation, axis):
    """The left ball is hollow, so that its parts and cavities change places as well."""
    source = two_balls()
    hollow = source.label_map.array.copy()
    hollow[8:12, 13:17, 13:17] = 3
    label_map = reorient(Volume(hollow, np.eye(4)), orientation)
    image = Volume((label_map.array / 3).astype(np.float32), label_map.affine)
    source = SourceMap("b0", "b", label_map, {}, {"image": image})
    settings = Perturb(min_displacement_mm=0, max_displacement_mm=1, flip_probability=1)
    start = as_it_is(source, condition_id="c0")
    made = settings.ready(BALLS).build(start, seed=1)
    assert topology(BALLS.channels(made.label_map.array), 3).tolist() == [
        [1, 0],
        [1, 1],
        [2, 2],
    ]
    still = settings.model_copy(update={"max_displacement_mm": 1e-6})
    made = still.ready(BALLS).build(start, seed=1)
    exchanged = np.array([0, 2, 1, 3])[np.flip(label_map.array, axis=axis)]
    np.testing.assert_array_equal(made.label_map.array, exchanged)
    turned = np.flip(image.array, axis=axis)
    np.testing.assert_allclose(aligned_image(made, "image").array, turned, atol=1e-5)


def test_in_a_mirror_columns_of_the_source_change_places():
    settings = Perturb(flip_probability=1)
    row = {"age": 41.0, "eye_L": 1.0, "eye_R": 2.0}
    source = SourceMap("k0", "s0", tiny.label_map_of(radius=6.0), row)

    def taken_over(*names):
        start = as_it_is(source, condition_id="c0", inherit=names)
        return settings.ready(tiny.SCHEME).build(start, seed=3).row

    assert taken_over("age", "eye_L", "eye_R") == {"age": 41.0, "eye_L": 2.0, "eye_R": 1.0}
    with pytest.raises(DataError, match="'eye_L' has no 'eye_R' to change places with"):
        taken_over("age", "eye_L")


def test_a_map_with_one_side_alone_is_not_mirrored():
    scheme = LabelScheme.from_mapping({"left_ball": 1, "ball": 2, "rest": 3})
    settings = Perturb(flip_probability=1)
    with pytest.raises(DataError, match="'left_ball' has no 'right_ball' to change places with"):
        settings.ready(scheme).build(as_it_is(two_balls(), condition_id="c0"), seed=1)
    chains = ConditionSettings(chains=[{"steps": [settings]}])
    (fault,) = chains.faults(scheme.names)
    assert "flip_probability: 'left_ball' has no 'right_ball'" in fault
    assert chains.faults(BALLS.names) == []


@pytest.mark.parametrize("change", [-0.5, -0.2, 0.2, 1.0])
def test_a_structure_reaches_the_volume_that_is_asked_for(change):
    """+20 % within 2 %, after a deformation that changed it as well."""
    settings = Perturb(
        max_displacement_mm=3, degrees=10, scale=0.1, resize={"left_ball": {"change": change}}
    )
    source = two_balls()
    made = settings.ready(BALLS).build(as_it_is(source, condition_id="c0"), seed=1)
    before, after = (np.count_nonzero(one.array == 1) for one in (source.label_map, made.label_map))
    assert after / before == pytest.approx(1 + change, rel=0.02)
    assert made.steps[0].checks["change_left_ball"] == pytest.approx(change, abs=0.02)
    assert topology(BALLS.channels(made.label_map.array), 3).tolist() == [
        [1, 0],
        [1, 0],
        [1, 2],
    ]


def test_one_side_changes_and_the_other_does_not():
    """In RAS, x grows to the right: of one structure on both sides, the left part grows alone."""
    source = two_balls()
    both = np.where(source.label_map.array == 2, 1, source.label_map.array).astype(np.uint16)
    source = SourceMap("b0", "b", Volume(both, np.eye(4)), {})
    settings = Perturb(
        min_displacement_mm=0,
        max_displacement_mm=0,
        resize={"left_ball": {"change": 0.3, "side": "left"}},
    )
    made = settings.ready(BALLS).build(as_it_is(source, condition_id="c0"), seed=1)
    left, right = (slice(0, 20), slice(20, 40))
    ball = [
        np.count_nonzero(one[side] == 1)
        for one in (both, made.label_map.array)
        for side in (left, right)
    ]
    assert ball[2] / ball[0] == pytest.approx(1.3, rel=0.02)
    assert ball[3] == ball[1]


def test_parts_that_grow_towards_each_other_do_not_join():
    """Two plates of one structure, three voxels apart, with four times the volume."""
    array = np.full((30, 24, 24), 2, dtype=np.uint16)
    array[10:13, 6:18, 6:18] = array[16:19, 6:18, 6:18] = 1
    scheme = LabelScheme.from_mapping({"plates": 1, "around": 2})
    source = SourceMap("p0", "p", Volume(array, np.eye(4)), {})
    settings = Perturb(
        min_displacement_mm=0, max_displacement_mm=0, resize={"plates": {"change": 3.0}}
    )
    made = settings.ready(scheme).build(as_it_is(source, condition_id="c0"), seed=1)
    grown = made.label_map.array == 1
    assert np.count_nonzero(grown) / np.count_nonzero(array == 1) == pytest.approx(4.0, rel=0.02)
    assert ndimage.label(grown, np.ones((3, 3, 3)))[1] == 2


def test_the_map_that_lies_the_other_way_round_grows_on_the_same_side():
    """Axis 0 towards the left: the left of the body is at its far end."""
    source = two_balls()
    flipped = Volume(source.label_map.array, np.diag([-1.0, 1.0, 1.0, 1.0]))
    weights = side_weights(flipped, "left").ravel()
    assert weights[0] < 0.01 < 0.99 < weights[-1]
    assert side_weights(source.label_map, "left").ravel()[0] > 0.99


def test_a_wall_that_breaks_is_a_draw_that_is_refused():
    """A shell two voxels thick around a core, shrunk and deformed far on a coarse grid."""
    places = np.indices((24, 24, 24)) - 11.5
    away = np.sqrt((places**2).sum(axis=0))
    scheme = LabelScheme.from_mapping({"wall": 1, "inside": 2})
    array = np.where(away < 8, 2, 0)
    array[(away >= 8) & (away < 10)] = 1
    source = SourceMap("w0", "w", Volume(array.astype(np.uint16), np.eye(4)), {})
    asked = {"min_displacement_mm": 6, "max_displacement_mm": 6, "smoothness_mm": 5, "scale": 0.4}
    start = as_it_is(source, condition_id="c0")
    with pytest.raises(DataError, match="for topology"):
        Perturb(**asked, max_tries=3).ready(scheme).build(start, seed=0)
    loose = Perturb(**asked, max_tries=3, keep_topology=False)
    assert set(np.unique(loose.ready(scheme).build(start, seed=0).label_map.array)) == {0, 1, 2}


def test_a_plate_one_voxel_thick_does_not_vanish():
    scheme = LabelScheme.from_mapping({"plate": 1, "rest": 2})
    array = np.full((24, 24, 24), 2, dtype=np.uint16)
    array[12, 4:20, 4:20] = 1
    source = SourceMap("p0", "p", Volume(array, np.eye(4)), {})
    for seed in range(8):
        settings = Perturb(max_displacement_mm=2, smoothness_mm=8)
        made = settings.ready(scheme).build(as_it_is(source, condition_id="c0"), seed=seed)
        displacement = PerturbDraw.model_validate(made.steps[0].parameters).displacement(
            source.label_map
        )
        places = np.indices(array.shape) + displacement
        expected = ndimage.map_coordinates((array == 1).astype(float), places, order=1).sum()
        assert np.count_nonzero(made.label_map.array == 1) == pytest.approx(expected, rel=0.05)
        assert topology(scheme.channels(made.label_map.array), 2)[0].tolist() == [1, 0]
