"""Grown structures: volumes reached, nothing folds, neighbours give way, images follow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from vcmaug.conditions.base import Condition, SourceMap, as_it_is
from vcmaug.conditions.builder import aligned_image, followed
from vcmaug.conditions.builders.grow import Grow
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.chain import Chain
from vcmaug.conditions.deformed_map import parts_kept
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

SCHEME = LabelScheme.from_mapping({"tissue": 1, "ventricles": 2, "nucleus": 3})
SHAPE = (40, 48, 36)
TISSUE, VENTRICLES, NUCLEUS = 1, 2, 3


def _ball(centre: tuple[float, float, float], radii: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return an ellipsoid about a place, given from the middle of the grid, voxels."""
    middle = (np.array(SHAPE) - 1) / 2 + centre
    places = (np.indices(SHAPE) - middle.reshape(3, 1, 1, 1)) / np.reshape(radii, (3, 1, 1, 1))
    inside: NDArray[np.bool_] = (places**2).sum(axis=0) < 1
    return inside


def _head() -> Volume:
    """Return a head of 3 mm voxels, with two ventricles of 5.6 ml and a nucleus beside each."""
    array = np.zeros(SHAPE, dtype=np.uint16)
    array[_ball((0, 0, 0), (18, 22, 16))] = TISSUE
    for side in (-1, 1):
        array[_ball((9 * side, 0, 0), (2.5, 4, 3))] = NUCLEUS
        array[_ball((4.2 * side, 0, 1), (2, 6, 2))] = VENTRICLES
    return Volume(array, np.diag([3.0, 3.0, 3.0, 1.0]))


HEAD = _head()
IMAGE = Volume(np.array([0.0, 0.7, 0.1, 0.5], dtype=np.float32)[HEAD.array], HEAD.affine)


def _ml(volume: Volume, value: int, side: str = "both") -> float:
    """Return the volume of a structure."""
    inside = volume.array == value
    half = SHAPE[0] // 2  # the first axis grows to the right
    inside = {"both": inside, "left": inside[:half], "right": inside[half:]}[side]
    return float(inside.sum()) * 0.027


def _built(
    *structures: Mapping[str, Any], turn: int = 0, uses: int = 0, **settings: Any
) -> Condition:
    """Return a condition of the head."""
    source = SourceMap("k0", "s0", HEAD, {"wanted": 12.5, "empty": None}, {"image": IMAGE})
    start = as_it_is(source, condition_id="c0", turn=turn, uses=uses)
    return Grow(structures=structures, **settings).ready(SCHEME).build(start, seed=3)


@pytest.mark.parametrize("wanted", [2.0, 5.0, 20.0, 60.0])
def test_a_volume_is_reached_and_nothing_folds(wanted: float) -> None:
    made = _built({"structure": "ventricles", "each_ml": [wanted]})
    assert _ml(made.label_map, VENTRICLES) == pytest.approx(wanted, rel=0.02)
    assert made.steps[0].checks["min_jacobian"] > 0
    assert np.array_equal(made.label_map.array > 0, HEAD.array > 0)  # the outline is held
    assert made.label_map.array.dtype == np.uint16


def test_neighbours_are_pushed_and_thinned_and_not_overwritten() -> None:
    grown = _built({"structure": "ventricles", "each_ml": [40]}).label_map
    right = slice(SHAPE[0] // 2, None)

    before, after = (np.argwhere(one.array[right] == NUCLEUS)[:, 0] for one in (HEAD, grown))
    assert after.mean() > before.mean() + 1
    assert after.std() < 0.9 * before.std()
    assert len(after) > 0.7 * len(before)
    wall = grown.array[SHAPE[0] // 2 - 1 : SHAPE[0] // 2 + 1, 20:28, 18]
    assert (wall == TISSUE).any(axis=0).all()  # between the two ventricles


def test_an_image_follows_by_the_same_flow() -> None:
    made = _built({"structure": "ventricles", "each_ml": [30]})
    image = aligned_image(made, "image").array
    assert image.min() >= 0
    assert image.max() <= float(IMAGE.array.max())
    for value, grey in ((VENTRICLES, 0.1), (TISSUE, 0.7), (NUCLEUS, 0.5)):
        assert np.median(image[made.label_map.array == value]) == pytest.approx(grey, abs=0.02)
    shown = image < 0.4
    own = made.label_map.array == VENTRICLES
    assert (shown[made.label_map.array > 0] == own[made.label_map.array > 0]).mean() > 0.98
    classes = followed(HEAD, made.steps, source=HEAD, classes=True).array
    assert (classes == made.label_map.array).mean() > 0.995


def test_sides_move_apart_from_each_other() -> None:
    made = _built(
        {"structure": "ventricles", "side": "left", "each_ml": [9]},
        {"structure": "ventricles", "side": "right", "each_ml": [1.5]},
    )
    assert _ml(made.label_map, VENTRICLES, "left") == pytest.approx(9, rel=0.02)
    assert _ml(made.label_map, VENTRICLES, "right") == pytest.approx(1.5, rel=0.02)


def test_several_structures_move_at_once() -> None:
    made = _built(
        {"structure": "ventricles", "each_ml": [15]}, {"structure": "nucleus", "each_ml": [4]}
    )
    assert _ml(made.label_map, VENTRICLES) == pytest.approx(15, rel=0.02)
    assert _ml(made.label_map, NUCLEUS) == pytest.approx(4, rel=0.02)


def test_volumes_of_a_sweep_lie_evenly() -> None:
    reached = sorted(
        _ml(_built({"structure": "ventricles", "even_ml": [4, 20]}, uses=k).label_map, VENTRICLES)
        for k in range(8)
    )
    assert reached[0] < 6
    assert reached[-1] > 18
    assert np.diff(reached).max() < 2 * 16 / 8


def test_volumes_come_from_a_list_or_a_column() -> None:
    each = {"structure": "ventricles", "each_ml": [4, 8]}
    volumes = [_ml(_built(each, turn=turn).label_map, VENTRICLES) for turn in (0, 1, 2)]
    assert volumes == pytest.approx([4, 8, 4], rel=0.02)
    column = {"structure": "ventricles", "column_ml": "wanted"}
    assert _ml(_built(column).label_map, VENTRICLES) == pytest.approx(12.5, rel=0.02)
    with pytest.raises(DataError, match=r"case k0: column 'empty' holds None, expected a volume"):
        _built({"structure": "ventricles", "column_ml": "empty"})


def test_a_neighbour_keeps_its_volume_where_that_is_asked() -> None:
    made = _built(
        {"structure": "ventricles", "each_ml": [20]}, {"structure": "nucleus", "times": 1}
    )
    assert _ml(made.label_map, NUCLEUS) == pytest.approx(_ml(HEAD, NUCLEUS), rel=0.02)


def test_the_seed_and_the_source_decide_everything() -> None:
    sweep = {"structure": "ventricles", "even_ml": [4, 20]}
    first, same = _built(sweep, uses=3), _built(sweep, uses=3)
    assert first.steps == same.steps
    assert np.array_equal(first.label_map.array, same.label_map.array)


@pytest.mark.parametrize("wanted", [0.05, 600.0])
def test_what_cannot_be_reached_is_refused_with_a_reason(wanted: float) -> None:
    with pytest.raises(
        DataError, match=rf"case k0, ventricles of 5\.\d ml to {wanted:.1f} ml: 2 flows"
    ):
        _built({"structure": "ventricles", "each_ml": [wanted]}, max_tries=2)


def test_a_structure_that_is_not_there_is_refused() -> None:
    empty = Volume(np.where(HEAD.array == NUCLEUS, TISSUE, HEAD.array), HEAD.affine)
    start = as_it_is(SourceMap("k0", "s0", empty, {}), condition_id="c0")
    builder = Grow(structures=[{"structure": "nucleus", "each_ml": [3]}])
    with pytest.raises(DataError, match=r"case k0: there is no 'nucleus' \(both\)"):
        builder.ready(SCHEME).build(start, seed=0)


def test_an_image_does_not_follow_another_map() -> None:
    made = _built({"structure": "ventricles", "each_ml": [12]})
    other = Volume(np.where(HEAD.array == VENTRICLES, NUCLEUS, HEAD.array), HEAD.affine)
    for source in (other, None):
        with pytest.raises(DataError, match="is not the one that was grown"):
            followed(IMAGE, made.steps, source=source)


def test_settings_say_what_is_wrong_with_them() -> None:
    ventricles = {"structure": "ventricles", "each_ml": [12]}
    grow = Grow(structures=[ventricles])
    assert Chain(steps=(grow, Perturb())).faults(SCHEME.names) == []
    (late,) = Chain(steps=(Perturb(), grow)).faults(SCHEME.names)
    assert "put it first" in late
    twice = Grow(structures=[ventricles, {**ventricles, "side": "left"}])
    assert twice.faults(SCHEME.names) == ["structures: 'ventricles' is asked for twice"]
    (unknown,) = Grow(structures=[{"structure": "x", "each_ml": [1]}]).faults(SCHEME.names)
    assert "'x'" in unknown
    for wrong in ({}, {"each_ml": [1], "column_ml": "a"}, {"each_ml": [0]}, {"even_ml": [9, 3]}):
        with pytest.raises(ValidationError):
            Grow(structures=[{"structure": "ventricles", **wrong}])


def test_parts_are_told_by_what_became_of_each() -> None:
    """Two parts that touch are one, a part in two pieces is none; sizes do not matter."""
    start = np.zeros((20, 8, 8), dtype=np.uint8)
    start[2:6, 2:6, 2:6], start[12:16, 2:6, 2:6] = 1, 1
    still = np.zeros((3, *start.shape), dtype=np.float32)
    joined, broken = start.copy(), start.copy()
    joined[6:12, 3, 3], broken[4, :, :] = 1, 0
    kept = {
        name: parts_kept(start, after, still, channel=1, specks=0.05)
        for name, after in {"same": start, "joined": joined, "broken": broken}.items()
    }
    assert kept == {"same": True, "joined": False, "broken": False}
    hollow = np.zeros((12, 12, 12), dtype=np.uint8)
    hollow[2:10, 2:10, 2:10], hollow[5:7, 5:7, 5:7] = 1, 2
    opened = hollow.copy()
    opened[5, 5, 7:10] = 2
    field = np.zeros((3, *hollow.shape), dtype=np.float32)
    assert parts_kept(hollow, hollow, field, channel=1, specks=0.01)
    assert not parts_kept(hollow, opened, field, channel=1, specks=0.01)


@pytest.mark.parametrize(
    ("radius", "half", "times"), [(3.0, 9, 0.35), (3.0, 7, 2.0), (4.5, 7, 0.5)]
)
def test_what_hangs_together_by_a_neck_of_a_voxel_still_does(
    radius: float, half: int, times: float
) -> None:
    """Two balls and a neck between them, which shares alone would leave out."""
    array = np.where(_ball((0, 0, 0), (18, 22, 16)), TISSUE, 0).astype(np.uint16)
    for side in (-1, 1):
        array[_ball((0, half * side, 0), (radius, radius, radius))] = VENTRICLES
    array[20, 24 - half : 24 + half, 18] = VENTRICLES
    source = SourceMap("k0", "s0", Volume(array, HEAD.affine), {})
    scheme = LabelScheme.from_mapping({"tissue": 1, "ventricles": 2})
    builder = Grow(structures=[{"structure": "ventricles", "times": times}], max_tries=1)
    made = builder.ready(scheme).build(as_it_is(source, condition_id="c0"), seed=0)
    _, parts = ndimage.label(made.label_map.array == VENTRICLES, np.ones((3, 3, 3)))
    assert parts == 1
    wanted = times * float((array == VENTRICLES).sum())
    assert float((made.label_map.array == VENTRICLES).sum()) == pytest.approx(wanted, rel=0.02)
