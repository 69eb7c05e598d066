import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcmaug.affine import orientation_of
from vcmaug.data.geometry import Grid, crop_or_pad, reorient, resample, start_of, to_grid
from vcmaug.data.volume import Volume, same_grid

LETTERS = [
    "".join(pair)
    for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
    for signs in np.ndindex(2, 2, 2)
    for pair in [[("RL", "AP", "SI")[axis][signs[axis]] for axis in order]]
]


def _volume(shape: tuple[int, int, int] = (5, 6, 7)) -> Volume:
    affine = np.array([[2.0, 0, 0, -4], [0, 1.5, 0, 3], [0, 0, 1, 9], [0, 0, 0, 1]])
    return Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), affine)


def _world_of_maximum(volume: Volume) -> np.ndarray:
    place = np.unravel_index(np.argmax(volume.array), volume.shape)
    return volume.affine @ [*place, 1]


@pytest.mark.parametrize("letters", LETTERS)
def test_reorienting_keeps_world_coordinates_and_comes_back(letters: str) -> None:
    volume = _volume()
    turned = reorient(volume, letters)
    assert turned.orientation == letters
    np.testing.assert_allclose(_world_of_maximum(turned), _world_of_maximum(volume))
    back = reorient(turned, "RAS")
    assert same_grid(back, volume)
    assert np.array_equal(back.array, volume.array)


def test_orientation_of_an_oblique_affine_is_the_nearest_axes() -> None:
    angle = 0.3
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert orientation_of(affine) == "RAS"


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(2, 12)] * 3), st.sampled_from(["zero", "edge", "reflect"]))
def test_cropping_and_padding_moves_no_voxel_in_the_world(
    shape: tuple[int, int, int], padding: str
) -> None:
    volume = _volume()
    changed = crop_or_pad(volume, shape, padding=padding)
    assert changed.shape == shape
    middle = [size // 2 for size in shape]
    world = changed.affine @ [*middle, 1]
    before = np.rint(np.linalg.inv(volume.affine) @ world)[:3].astype(int)
    if all(0 <= place < size for place, size in zip(before, volume.shape, strict=True)):
        assert changed.array[tuple(middle)] == volume.array[tuple(before)]


def test_padding_by_reflection_repeats_where_the_pad_is_larger_than_the_volume() -> None:
    volume = Volume(np.arange(2, dtype=np.float32).reshape(2, 1, 1), np.eye(4))
    padded = crop_or_pad(volume, (8, 1, 1), padding="reflect")
    assert padded.array.ravel().tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("letters", ["RAS", "LPI", "SRA"])
@pytest.mark.parametrize("spacing", [2.0, 3.0])
def test_a_grid_lies_about_what_is_shown_and_a_constant(letters: str, spacing: float) -> None:
    """In millimetres of the grid's axes, whatever way the file is stored."""
    array = np.zeros((40, 48, 36), dtype=np.float32)
    array[4:13, 20:41, 10:31] = 1.0  # its centre is voxel (8, 30, 20)
    image = Volume(array, np.array([[2.0, 0, 0, -40], [0, 2, 0, -30], [0, 0, 2, 7], [0, 0, 0, 1]]))
    centre = image.affine @ [8, 30, 20, 1]
    stored = reorient(image, letters)
    for offset in ((0.0, 0.0, 0.0), (6.0, -12.0, 12.0)):
        grid = Grid((9, 11, 9), spacing_mm=[spacing] * 3, centre="foreground", offset_mm=offset)
        start = start_of(stored, grid)
        placed = to_grid(stored, grid, is_label=False, start=start)
        assert placed.shape == grid.shape
        away = (placed.affine @ [4, 5, 4, 1])[:3] - centre[:3] - offset
        assert np.abs(away).max() <= spacing / 2 + 1e-6
    dark = Volume(np.zeros_like(array), image.affine)
    assert start_of(dark, grid.model_copy(update={"offset_mm": (0.0, 0.0, 0.0)})) == start_of(
        dark, Grid((9, 11, 9), spacing_mm=[spacing] * 3)
    )


def test_a_grid_may_reach_beyond_both_ends_of_a_volume() -> None:
    volume = Volume(np.arange(1, 4, dtype=np.float32).reshape(3, 1, 1), np.eye(4))
    for start, wanted in ((-1, [0, 1, 2, 3, 0]), (2, [3, 0, 0, 0, 0]), (-4, [0, 0, 0, 0, 1])):
        cut = crop_or_pad(volume, (5, 1, 1), padding="zero", start=(start, 0, 0))
        assert cut.array.ravel().tolist() == wanted
        assert cut.affine[0, 3] == start


def test_resampling_an_image_keeps_its_field_of_view_and_a_linear_ramp() -> None:
    ramp = np.tile(np.arange(16, dtype=np.float32)[:, None, None], (1, 16, 16))
    coarse = resample(Volume(ramp, np.eye(4)), (2.0, 2.0, 2.0), is_label=False)
    assert coarse.shape == (8, 8, 8)
    assert coarse.spacing_mm == (2.0, 2.0, 2.0)
    world_x = (coarse.affine @ [3, 3, 3, 1])[0]
    assert coarse.array[3, 3, 3] == pytest.approx(world_x, abs=1e-3)  # the ramp is x itself


def test_resampling_a_label_map_makes_no_new_value_and_keeps_volume() -> None:
    array = np.zeros((24, 24, 24), dtype=np.uint16)
    array[4:20, 4:20, 4:20] = 7
    array[8:16, 8:16, 8:16] = 3
    coarse = resample(Volume(array, np.eye(4)), (2.0, 2.0, 2.0), is_label=True)
    assert set(np.unique(coarse.array)) == {0, 3, 7}
    assert np.count_nonzero(coarse.array == 3) * 8 == pytest.approx(512, rel=0.15)


def test_to_grid_gives_the_grid() -> None:
    grid = Grid(shape=(8, 8, 8), spacing_mm=(1.0, 1.0, 1.0), orientation="LPS")
    volume = to_grid(_volume(), grid, is_label=False)
    assert (volume.shape, volume.spacing_mm, volume.orientation) == ((8, 8, 8), (1, 1, 1), "LPS")


@pytest.mark.parametrize("letters", ["RAR", "XYZ", "RA"])
def test_an_orientation_that_is_none_is_refused(letters: str) -> None:
    with pytest.raises(ValueError, match="three letters"):
        Grid(shape=(2, 2, 2), orientation=letters)
