from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vcmaug.affine import affine_of
from vcmaug.data.case import Case
from vcmaug.data.geometry import Grid, reorient, to_grid
from vcmaug.data.intensity import IntensitySettings
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.prepare import DataSettings, prepare
from vcmaug.data.volume import Volume, same_grid
from vcmaug.data.way_back import WayBack
from vcmaug.errors import DataError

ORIENTATIONS = ["RAS", "LPI", "PIR", "ASL"]
SCHEME = LabelScheme.numbered({"low": 7, "high": 3})


def _volume(orientation: str, shape: tuple[int, int, int], spacing: float = 1.0) -> Volume:
    generator = np.random.default_rng(sum(shape))
    affine = affine_of(np.diag([spacing] * 3), (3.0, -5.0, 7.0))
    array = generator.integers(1, 9, shape).astype(np.uint16)
    return reorient(Volume(array, affine), orientation)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ORIENTATIONS),
    st.sampled_from(ORIENTATIONS),
    st.tuples(*[st.integers(4, 9)] * 3),
    st.tuples(*[st.integers(4, 9)] * 3),
)
def test_turned_cropped_and_padded_volumes_come_back_exactly(
    native: str, wanted: str, shape: tuple[int, int, int], grid_shape: tuple[int, int, int]
) -> None:
    """Within the grid the native volume is what it was; on the grid nothing changes at all."""
    volume, grid = _volume(native, shape), Grid(shape=grid_shape, orientation=wanted)
    way_back = WayBack.of(volume, grid, windows={})
    prepared = to_grid(volume, grid, is_label=True)
    back = way_back.undo(prepared, is_label=True)
    assert same_grid(back, volume)
    inside = back.array > 0
    assert np.array_equal(back.array[inside], volume.array[inside])
    assert np.count_nonzero(inside) == np.count_nonzero(prepared.array)
    again = to_grid(back, grid, is_label=True)
    assert np.array_equal(again.array, prepared.array)
    np.testing.assert_allclose(again.affine, prepared.affine)


@pytest.mark.parametrize("spacing", [0.7, 1.6])
def test_resampled_volumes_come_back_to_their_grid_nearly(spacing: float) -> None:
    places = np.indices((30, 24, 28)) - np.array([14.5, 11.5, 13.5]).reshape(3, 1, 1, 1)
    ball = (np.sqrt((places**2).sum(axis=0)) < 8).astype(np.uint16)
    native = reorient(Volume(ball, affine_of(np.diag([spacing] * 3))), "LPI")
    grid = Grid(shape=(40, 40, 40), orientation="RAS")
    way_back = WayBack.of(native, grid, windows={})
    label = way_back.undo(to_grid(native, grid, is_label=True), is_label=True)
    assert same_grid(label, native)
    both = np.count_nonzero((label.array > 0) & (native.array > 0))
    assert 2 * both / (np.count_nonzero(label.array) + np.count_nonzero(native.array)) > 0.95
    smooth = Volume(ndimage.gaussian_filter(native.array.astype(np.float32), 3), native.affine)
    image = way_back.undo(to_grid(smooth, grid, is_label=False), is_label=False)
    assert np.abs(image.array - smooth.array).max() < 0.1 * smooth.array.max()


def _prepared(folder: Path, **more: object) -> tuple[Case, Volume, Volume]:
    """Return a prepared case in Hounsfield units, and its native image and label map."""
    source = folder / "source"
    generator = np.random.default_rng(0)
    hounsfield = generator.integers(-1000, 1000, (9, 8, 7))
    affine = reorient(Volume(hounsfield, affine_of(np.eye(3), (1, 2, 3))), "LPI").affine
    share = Volume((hounsfield + 1000) / 2000, affine)  # files hold shares, read back to units
    write_image(source / "images" / "a.nii.gz", share)
    label = Volume(np.where(hounsfield > 0, 3, 7).astype(np.uint16), affine)
    write_label_map(source / "labels" / "a.nii.gz", label)
    content = {
        "source": str(source),
        "scheme": {"low": 7, "high": 3},
        "grid": {"shape": (8, 10, 7)},
        **more,
    }
    cases = prepare(DataSettings.model_validate(content), folder / "out")
    return cases[0], read_image(source / "images" / "a.nii.gz", case_id="a"), label


def test_a_drawn_case_stands_on_its_parent_s_grid_in_its_units(tmp_path: Path) -> None:
    case, native, label = _prepared(tmp_path, intensity={"window": [0.2, 0.8]})
    assert case.label is not None
    drawn = read_image(case.image, case_id="a"), read_label_map(case.label, case_id="a")
    assert drawn[0].array.min() == 0.0  # a fixed window: what is padded is its lower end
    image = case.back().image(drawn[0], name="image")
    labels = case.back().label(drawn[1], scheme=SCHEME)
    assert same_grid(image, native)
    assert same_grid(labels, label)
    inside = labels.array > 0
    assert np.count_nonzero(inside) == 8 * 8 * 7  # one slice was cut off
    assert np.array_equal(labels.array[inside], label.array[inside])
    clipped = np.clip(native.array, 0.2, 0.8)
    np.testing.assert_allclose(image.array[inside], clipped[inside], atol=2e-5)
    assert np.allclose(image.array[~inside], 0.2)


def test_a_case_cut_about_its_foreground_comes_back(tmp_path: Path) -> None:
    grid = {"shape": (6, 6, 6), "centre": "foreground", "offset_mm": (1, 2, -1)}
    case, native, label = _prepared(tmp_path, grid=grid, intensity={"window": [0.2, 0.8]})
    assert case.label is not None
    labels = case.back().label(read_label_map(case.label, case_id="a"), scheme=SCHEME)
    image = case.back().image(read_image(case.image, case_id="a"), name="image")
    inside = labels.array > 0
    assert 5 * 5 * 5 <= np.count_nonzero(inside) <= 6 * 6 * 6
    assert np.array_equal(labels.array[inside], label.array[inside])
    clipped = np.clip(native.array, 0.2, 0.8)
    np.testing.assert_allclose(image.array[inside], clipped[inside], atol=2e-5)


def test_percentiles_of_a_case_are_kept_for_its_way_back(tmp_path: Path) -> None:
    case, native, _ = _prepared(
        tmp_path, intensity={"lower_percentile": 0, "upper_percentile": 100}
    )
    image = case.back().image(read_image(case.image, case_id="a"), name="image")
    again = to_grid(image, Grid(shape=(8, 10, 7)), is_label=False)
    wanted = to_grid(native, Grid(shape=(8, 10, 7)), is_label=False)
    np.testing.assert_allclose(again.array, wanted.array, atol=5e-5)


def test_a_case_that_was_not_prepared_has_no_way_back(tmp_path: Path) -> None:
    case = Case("a", "a", {"image": tmp_path / "a.nii.gz"})
    with pytest.raises(DataError, match="its native grid is not known"):
        case.back()


def test_a_window_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="the lower one first"):
        IntensitySettings(window=(240, -160))
