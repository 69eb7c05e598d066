import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vcmaug.data.intensity import IntensitySettings, scaled, window_of
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import DataError, WorkFolderError


def normalise(array: np.ndarray, settings: IntensitySettings) -> np.ndarray:
    return scaled(array, window_of(array, settings))


AFFINE = np.array([[-1.0, 0, 0, 96.5], [0, 1, 0, -141.5], [0, 0, 2, -156.6], [0, 0, 0, 1]])


def _image() -> Volume:
    return Volume(np.random.default_rng(0).random((5, 6, 7)).astype(np.float32), AFFINE)


def test_an_image_comes_back_within_the_stated_loss(tmp_path: Path) -> None:
    volume = _image()
    write_image(tmp_path / "a.nii.gz", volume)
    back = read_image(tmp_path / "a.nii.gz", case_id="a")
    assert same_grid(back, volume)
    assert np.abs(back.array - volume.array).max() <= 1.6e-5


def test_nibabel_itself_reads_the_same_numbers_and_both_forms_of_the_affine(tmp_path: Path) -> None:
    write_image(tmp_path / "a.nii.gz", _image())
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.int16
    np.testing.assert_allclose(image.get_sform(), AFFINE, atol=1e-4)
    np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-4)
    np.testing.assert_allclose(image.get_fdata(), _image().array, atol=1.6e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (300, np.uint16)])
def test_a_label_map_comes_back_exactly(tmp_path: Path, highest: int, dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, highest + 1, (5, 6, 7)).astype(np.uint16)
    array[0, 0, 0] = highest
    write_label_map(tmp_path / "a.nii.gz", Volume(array, AFFINE))
    assert np.array_equal(read_label_map(tmp_path / "a.nii.gz", case_id="a").array, array)
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == dtype


def test_the_same_volume_gives_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    first = write_image(tmp_path / "a.nii.gz", _image())
    second = write_image(tmp_path / "other" / "b.nii.gz", _image())
    assert first == second
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "other/b.nii.gz").read_bytes()


def _write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


def _spoilt(folder: Path, what: str) -> Path:
    path = folder / "x.nii.gz"
    good = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    if what == "truncated":
        _write(path, good)
        path.write_bytes(path.read_bytes()[:200])
    elif what == "no nifti":
        path.write_bytes(gzip.compress(b"hello"))
    elif what == "4D":
        _write(path, np.stack([good, good], axis=-1))
    elif what == "nan":
        good[1, 2, 3] = np.nan
        _write(path, good)
    elif what == "zero":
        _write(path, np.zeros_like(good))
    elif what == "determinant":
        _write(path, good)
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[280:328] = struct.pack("<12f", *[0.0] * 12)  # srow_x, srow_y, srow_z
        content[252:256] = struct.pack("<2h", 0, 1)  # qform_code 0, sform_code 1
        path.write_bytes(gzip.compress(bytes(content)))
    return path


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("missing", "no such file"),
        ("truncated", "truncated or no NIfTI"),
        ("no nifti", "truncated or no NIfTI"),
        ("4D", r"4D of shape \(8, 8, 8, 2\)"),
        ("nan", "1 voxels are NaN"),
        ("zero", "every voxel is 0"),
        ("determinant", "determinant zero"),
    ],
)
def test_what_cannot_be_used_names_case_file_and_finding(
    tmp_path: Path, what: str, found: str
) -> None:
    path = _spoilt(tmp_path, what)
    with pytest.raises(DataError, match=found) as caught:
        read_image(path, case_id="k7")
    assert "case k7" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_last_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.nii.gz", _image().array[..., None])
    assert read_image(path, case_id="x").shape == (5, 6, 7)


def test_a_label_map_of_fractions_is_refused_and_one_of_whole_floats_is_not(tmp_path: Path) -> None:
    whole = _write(tmp_path / "a.nii.gz", np.full((3, 3, 3), 2.0, dtype=np.float32))
    assert read_label_map(whole, case_id="a").array.max() == 2
    half = _write(tmp_path / "b.nii.gz", np.full((3, 3, 3), 0.5, dtype=np.float32))
    with pytest.raises(DataError, match="this is not a label map"):
        read_label_map(half, case_id="b")


def test_nan_is_not_written(tmp_path: Path) -> None:
    array = _image().array.copy()
    array[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="holds NaN"):
        write_image(tmp_path / "a.nii.gz", Volume(array, AFFINE))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_half_written() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(WorkFolderError, match="Nothing was left half-written"):
        write_image(Path("/proc/vcmaug/a.nii.gz"), _image())


@pytest.mark.parametrize("scale", [1.0, 255.0, 1.7e6])
def test_normalising_forgets_the_scale(scale: float) -> None:
    array = _image().array
    ours = normalise(array * scale, IntensitySettings())
    np.testing.assert_allclose(ours, normalise(array, IntensitySettings()), atol=1e-5)
    assert ours.min() == 0.0
    assert ours.max() == 1.0


def test_over_nonzero_voxels_the_background_stays_zero() -> None:
    array = np.zeros((10, 10, 10), dtype=np.float32)
    array[3:7, 3:7, 3:7] = np.random.default_rng(0).uniform(50, 200, (4, 4, 4))
    ours = normalise(array, IntensitySettings(over="nonzero"))
    assert np.all(ours[array == 0] == 0)
    assert ours[array > 0].min() > 0.2


def test_an_image_without_contrast_is_refused() -> None:
    with pytest.raises(DataError, match="no contrast"):
        normalise(np.ones((4, 4, 4)), IntensitySettings())
