"""Headers that contradict themselves or say too little; all affines in mm."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import DataError

ARRAY = np.random.default_rng(0).random((20, 24, 10)).astype(np.float32)
AFFINE = np.array([[-1.0, 0, 0, 9], [0, 1, 0, -12], [0, 0, 2.5, -30], [0, 0, 0, 1]])


def _saved(folder: Path, *, sform: tuple, qform: tuple, unit: str = "mm") -> Path:
    image = nib.Nifti1Image(ARRAY, AFFINE)
    image.set_sform(*sform)
    image.set_qform(*qform)
    image.header.set_xyzt_units(unit)
    image.to_filename(folder / "x.nii.gz")
    return folder / "x.nii.gz"


def _with_bytes(path: Path, start: int, content: bytes) -> None:
    header = bytearray(gzip.decompress(path.read_bytes()))
    header[start : start + len(content)] = content
    path.write_bytes(gzip.compress(bytes(header)))


def _sheared(degrees: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[1, 2] = affine[2, 2] * np.tan(np.radians(degrees))
    return affine


def _shifted(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += mm
    return affine


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (4, 2), (2, 4)])
def test_one_form_is_enough_and_two_that_agree_are(tmp_path: Path, codes: tuple[int, int]) -> None:
    path = _saved(tmp_path, sform=(AFFINE, codes[0]), qform=(AFFINE, codes[1]))
    np.testing.assert_allclose(read_image(path, case_id="x").affine, AFFINE, atol=1e-5)


def test_a_header_without_orientation_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 0), qform=(AFFINE, 0))
    with pytest.raises(DataError, match=r"case k, .*x\.nii\.gz: its header knows no orientation"):
        read_image(path, case_id="k")
    nib.AnalyzeImage(ARRAY, AFFINE).to_filename(tmp_path / "x.img")
    with pytest.raises(DataError, match="knows no orientation"):
        read_image(tmp_path / "x.img", case_id="k")


def test_an_orientation_that_is_used_by_no_code_contradicts_nothing(tmp_path: Path) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(np.diag([1.0, 1, 1, 1]), 0))
    np.testing.assert_allclose(read_image(path, case_id="x").affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(("mm", "fits"), [(0.05, True), (0.9, True), (1.2, False), (40, False)])
def test_sform_and_qform_may_be_a_voxel_apart(tmp_path: Path, mm: float, fits: bool) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(_shifted(mm), 1))
    if fits:
        np.testing.assert_allclose(read_image(path, case_id="x").affine, AFFINE, atol=1e-5)
    else:
        with pytest.raises(DataError, match=rf"sform and its qform .* up to {mm:.3g} voxels apart"):
            read_image(path, case_id="x")


def test_a_qform_whose_side_is_the_other_one_is_refused(tmp_path: Path) -> None:
    other = AFFINE.copy()
    other[0, :] *= -1
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(other, 1))
    with pytest.raises(DataError, match="its sform and its qform place its corners"):
        read_label_map(path, case_id="x")


@pytest.mark.parametrize("degrees", [1, 20, -20])
def test_shear_is_refused_by_name(tmp_path: Path, degrees: float) -> None:
    path = _saved(tmp_path, sform=(_sheared(degrees), 1), qform=(AFFINE, 0))
    angle = f"{90 - abs(degrees):.3g}"
    with pytest.raises(DataError, match=rf"its affine is sheared: two axes meet at {angle} degree"):
        read_image(path, case_id="x")


def test_axes_that_were_rounded_are_no_shear(tmp_path: Path) -> None:
    """Directions of four digits; what is written then has two forms that agree."""
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = np.round(turn, 4) * [0.5, 0.5, 3]
    path = _saved(tmp_path, sform=(affine, 1), qform=(affine, 1))
    volume = read_image(path, case_id="x")
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    write_image(tmp_path / "y.nii.gz", volume)
    written = nib.load(tmp_path / "y.nii.gz")
    forms = [Volume(ARRAY, form) for form in (written.get_sform(), written.get_qform())]
    assert same_grid(*forms)


@pytest.mark.parametrize(("unit", "per_mm"), [("mm", 1), ("micron", 1000), ("meter", 0.001)])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
def test_every_unit_of_length_gives_the_same_millimetres(
    tmp_path: Path, unit: str, per_mm: float, codes: tuple[int, int]
) -> None:
    stored = np.diag([per_mm, per_mm, per_mm, 1]) @ AFFINE
    path = _saved(tmp_path, sform=(stored, codes[0]), qform=(stored, codes[1]), unit=unit)
    volume = read_image(path, case_id="x")
    np.testing.assert_allclose(volume.affine, AFFINE, rtol=1e-6, atol=1e-6)
    write_image(tmp_path / "y.nii.gz", volume)
    assert same_grid(read_image(tmp_path / "y.nii.gz", case_id="y"), volume)


def test_a_voxel_size_that_no_image_has_is_refused_with_its_unit(tmp_path: Path) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(AFFINE, 1), unit="meter")
    with pytest.raises(DataError, match=r"1000 x 1000 x 2500 mm large \(its header says metres\)"):
        read_image(path, case_id="x")


def test_a_unit_that_is_none_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(AFFINE, 1))
    _with_bytes(path, 123, bytes([5]))
    with pytest.raises(DataError, match="its unit of length has code 5"):
        read_image(path, case_id="x")


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]), r"colours \(RGB\)"),
        (np.ones((4, 4, 4), dtype=np.complex64), "complex numbers"),
        (np.full((4, 4, 4), 1e300), "64 voxels are NaN or infinite as float32"),
    ],
)
def test_voxels_that_are_no_plain_numbers_are_refused(
    tmp_path: Path, array: np.ndarray, found: str
) -> None:
    nib.Nifti1Image(array, AFFINE).to_filename(tmp_path / "x.nii.gz")
    with pytest.raises(DataError, match=rf"case k, .*x\.nii\.gz: .*{found}"):
        read_image(tmp_path / "x.nii.gz", case_id="k")
    with pytest.raises(DataError, match=r"case k, .*x\.nii\.gz: "):
        read_label_map(tmp_path / "x.nii.gz", case_id="k")


def test_a_voxel_size_beside_the_affine_that_is_another_is_refused(tmp_path: Path) -> None:
    """SimpleITK takes the size from pixdim and the directions from the sform."""
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(AFFINE, 0))
    _with_bytes(path, 80, np.array([1, 1, 2.6], dtype="<f4").tobytes())
    read_image(path, case_id="x")
    _with_bytes(path, 80, np.array([2, 1, 2.5], dtype="<f4").tobytes())
    with pytest.raises(DataError, match=r"2 x 1 x 2.5 \(pixdim\) and its affine one of 1 x 1 x"):
        read_image(path, case_id="x")


@pytest.mark.parametrize("unset", [0, 1])
def test_a_voxel_size_that_nobody_set_contradicts_nothing(tmp_path: Path, unset: int) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(AFFINE, 0))
    _with_bytes(path, 80, np.full(3, unset, dtype="<f4").tobytes())
    np.testing.assert_allclose(read_image(path, case_id="x").affine, AFFINE, atol=1e-5)


def test_a_shape_that_no_memory_holds_is_one_sentence(tmp_path: Path) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(AFFINE, 1))
    _with_bytes(path, 42, np.array([32767, 32767, 32767], dtype="<i2").tobytes())
    with pytest.raises(DataError, match=r"case k, .*x\.nii\.gz: (its shape|truncated)"):
        read_image(path, case_id="k")


def test_an_unknown_data_type_is_one_sentence(tmp_path: Path) -> None:
    path = _saved(tmp_path, sform=(AFFINE, 1), qform=(AFFINE, 1))
    _with_bytes(path, 70, (9999).to_bytes(2, "little"))
    with pytest.raises(DataError, match="truncated or no NIfTI file"):
        read_image(path, case_id="x")


def test_further_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    nib.Nifti1Image(ARRAY[..., None, None], AFFINE).to_filename(tmp_path / "x.nii.gz")
    assert read_image(tmp_path / "x.nii.gz", case_id="x").shape == ARRAY.shape
    nib.Nifti1Image(np.stack([ARRAY] * 3, -1)[..., None, :], AFFINE).to_filename(tmp_path / "y.nii")
    with pytest.raises(DataError, match=r"5D of shape \(20, 24, 10, 1, 3\), expected one 3D"):
        read_image(tmp_path / "y.nii", case_id="y")


def test_mgz_is_read_as_it_was(tmp_path: Path) -> None:
    nib.MGHImage(ARRAY, AFFINE).to_filename(tmp_path / "x.mgz")
    np.testing.assert_allclose(
        read_image(tmp_path / "x.mgz", case_id="x").affine, AFFINE, atol=1e-5
    )
