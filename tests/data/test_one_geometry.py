"""One geometry and one grey scale per case, on any grid, as real files provoke faults in them."""

from pathlib import Path

import numpy as np
import pytest

from vcmaug.data.case import Case
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map, write_grey_values, write_label_map
from vcmaug.data.prepare import DataSettings, prepare
from vcmaug.data.volume import Volume, same_grid
from vcmaug.data.volumes import read_case_volumes
from vcmaug.errors import FaultyDataSet


def _case(folder: Path, image: Volume, label: Volume, name: str = "a") -> Path:
    write_grey_values(folder / "images" / f"{name}.nii.gz", image)
    write_label_map(folder / "labels" / f"{name}.nii.gz", label)
    return folder


def _settings(source: Path, shape: tuple[int, int, int], **more: object) -> DataSettings:
    grid = {"shape": shape, "spacing_mm": more.pop("spacing_mm", (1, 1, 1))}
    scheme = {"organ": 1, "lesion": 2}
    return DataSettings.model_validate(
        {"source": str(source), "scheme": scheme, "grid": grid, **more}
    )


def _noise(shape: tuple[int, int, int], low: float, high: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, shape)


def _block(shape: tuple[int, int, int], value: int = 1) -> np.ndarray:
    array = np.zeros(shape, dtype=np.uint16)
    array[tuple(slice(size // 4, 3 * size // 4) for size in shape)] = value
    return array


def _volumes(case: Case) -> tuple[Volume, Volume]:
    assert case.label is not None
    return read_image(case.image, case_id="a"), read_label_map(case.label, case_id="a")


@pytest.mark.parametrize("off", [1e-6, 1e-5, 1e-4])
@pytest.mark.parametrize("letters", [(0, 1, 2), (2, 0, 1)])
def test_an_affine_that_is_rounded_elsewhere_moves_no_label(
    tmp_path: Path, off: float, letters: tuple[int, int, int]
) -> None:
    """64 voxels of 0.9765625 mm end within half a voxel of 62 or 63 of 1 mm."""
    affine = np.eye(4)
    affine[:3, :3] = 0.9765625 * np.eye(3)[:, letters]
    rounded = affine.copy()
    rounded[:3, :3] *= 1 + off
    shape = (64, 64, 64)
    folder = _case(
        tmp_path / "source", Volume(_noise(shape, 0, 9), affine), Volume(_block(shape), rounded)
    )
    image, label = _volumes(prepare(_settings(folder, (62, 64, 66)), tmp_path / "out")[0])
    assert np.array_equal(image.affine, label.affine)
    assert image.shape == label.shape


def test_grids_are_compared_at_the_corner_of_the_volume() -> None:
    """A thousandth in each step is a quarter of a voxel after 256; the same shift is nothing."""
    here = Volume(np.broadcast_to(np.float32(0), (256, 256, 256)), np.eye(4))
    wider, beside = np.diag([1.001, 1, 1, 1]), np.eye(4)
    beside[0, 3] = 0.05
    assert not same_grid(Volume(here.array, wider), here)
    assert same_grid(Volume(here.array, beside), here)
    small = np.diag([0.01, 0.01, 0.01, 1])
    moved = small.copy()
    moved[0, 3] = 0.05
    assert not same_grid(Volume(here.array, moved), Volume(here.array, small))


@pytest.mark.parametrize(
    ("grid", "fits"),
    [
        ({}, True),
        ({"spacing_mm": (1.001, 1, 1)}, True),
        ({"spacing_mm": (1.02, 1, 1)}, False),
        ({"orientation": "LAS"}, False),
        ({"orientation": "ARS"}, False),
        ({"shape": (8, 8, 9)}, False),
    ],
)
def test_cases_on_other_voxels_are_not_mixed(
    tmp_path: Path, grid: dict[str, object], fits: bool
) -> None:
    """Arrays that point elsewhere would be learnt from as if they were mirrored."""
    cases = []
    for name, own in (("a", {}), ("b", grid)):
        affine = Grid(**{"shape": (8, 8, 8), **own}).affine
        shape = (8, 8, 9) if "shape" in own else (8, 8, 8)
        _case(tmp_path, Volume(_noise(shape, 0, 1), affine), Volume(_block(shape), affine), name)
        paths = (tmp_path / kind / f"{name}.nii.gz" for kind in ("images", "labels"))
        image, label = paths
        cases.append(Case(name, name, {"image": image}, label))
    scheme = LabelScheme.numbered({"organ": 1})
    if fits:
        assert read_case_volumes(cases, scheme).shape == (8, 8, 8)
    else:
        with pytest.raises(FaultyDataSet, match=r"case b, .* not like case a: found 8x8x"):
            read_case_volumes(cases, scheme)


def test_what_is_padded_around_a_ct_is_air(tmp_path: Path) -> None:
    shape = (16, 20, 16)
    ct = np.where(_block(shape) > 0, _noise(shape, 0, 1000), -1000.0)
    folder = _case(tmp_path / "source", Volume(ct, np.eye(4)), Volume(_block(shape), np.eye(4)))
    image, _ = _volumes(prepare(_settings(folder, (24, 28, 24)), tmp_path / "out")[0])
    assert image.array[4, 4, 4] == 0.0  # air of the file
    assert image.array[0].max() == image.array[:, :, -1].max() == 0.0
    assert image.array.max() == pytest.approx(1.0, abs=2e-5)


@pytest.mark.parametrize("over", ["all", "nonzero"])
def test_the_grid_does_not_change_the_intensities(tmp_path: Path, over: str) -> None:
    """Percentiles are those of the file's voxels; a tiny image on a large grid has a contrast."""
    shape = (16, 20, 16)
    head = np.where(_block(shape) > 0, _noise(shape, 50, 200), 0.0)
    folder = _case(tmp_path / "source", Volume(head, np.eye(4)), Volume(_block(shape), np.eye(4)))
    found = []
    for shape in ((8, 10, 8), (16, 20, 16), (48, 48, 48), (120, 120, 120)):
        settings = _settings(folder, shape, intensity={"over": over})
        image, _ = _volumes(prepare(settings, tmp_path / f"{shape[0]}")[0])
        middle = tuple(slice(size // 2 - 4, size // 2 + 4) for size in shape)
        found.append(image.array[middle])
    assert found[0].std() > 0.1
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_an_image_whose_content_the_grid_leaves_out_is_named(tmp_path: Path) -> None:
    shape = (32, 32, 32)
    array = np.zeros(shape)
    array[:4] = _noise((4, 32, 32), 1, 2)
    folder = _case(tmp_path / "source", Volume(array, np.eye(4)), Volume(_block(shape), np.eye(4)))
    with pytest.raises(
        FaultyDataSet, match=r"case a, .*images/a\.nii\.gz: every voxel is 0 on the"
    ):
        prepare(_settings(folder, (8, 8, 8)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _lesions(organ: bool) -> np.ndarray:
    array = _block((32, 32, 32)) * int(organ)
    array[13:15, 13:15, 13:15] = 2
    return array


@pytest.mark.parametrize("organ", [True, False])
def test_a_structure_that_is_lost_on_the_grid_is_named_with_its_case(
    tmp_path: Path, organ: bool
) -> None:
    """A test subject whose reference is empty by loss would score 1 for predicting nothing."""
    first, second, third = (Volume(_noise((32, 32, 32), 0, 9 + n), np.eye(4)) for n in range(3))
    for name, image in (("a", first), ("b", second)):
        _case(tmp_path / "source", image, Volume(_lesions(organ), np.eye(4)), name)
    coarse = _settings(tmp_path / "source", (8, 8, 8), spacing_mm=(4, 4, 4))
    with pytest.raises(FaultyDataSet) as caught:
        prepare(coarse, tmp_path / "out")
    assert len(caught.value.faults) == 2
    for name, fault in zip("ab", caught.value.faults, strict=True):
        assert fault.startswith(f"case {name}, ")
        assert "lesion, 8 mm3, has no voxel left on the grid of 8x8x8 voxels of 4x4x4 mm" in fault
    cut = _settings(tmp_path / "source", (32, 32, 8))
    assert len(prepare(cut, tmp_path / "cut")) == 2
    missed = np.roll(_lesions(organ), 10, axis=2)
    _case(tmp_path / "source", third, Volume(missed, np.eye(4)), "c")
    with pytest.raises(FaultyDataSet, match=r"case c, .*: lesion, 8 mm3, has no voxel left"):
        prepare(cut, tmp_path / "again")


def test_a_structure_that_is_not_there_is_not_lost(tmp_path: Path) -> None:
    shape = (8, 8, 8)
    nothing = Volume(np.zeros(shape, dtype=np.uint16), np.eye(4))
    folder = _case(tmp_path / "source", Volume(_noise(shape, 0, 9), np.eye(4)), nothing)
    case = prepare(_settings(folder, shape), tmp_path / "out")[0]
    assert case.measured is not None
    assert case.measured.volumes_mm3 == {"organ": 0.0, "lesion": 0.0}
    assert case.measured.share_outside_grid == 0.0


@pytest.mark.parametrize(
    ("spacing", "size", "grid", "spacing_mm", "outside"),
    [
        ((0.4, 0.4, 5.0), (64, 64, 16), (32, 32, 80), (1, 1, 1), 0.0),
        ((1.0, 1.0, 1.0), (32, 32, 32), (8, 8, 8), (4, 4, 4), 0.0),
        ((1.0, 1.0, 1.0), (32, 32, 32), (16, 32, 8), (1, 1, 1), 0.5),
        ((2.0, 1.0, 1.0), (16, 32, 32), (10, 32, 32), (1, 1, 1), 0.375),
        ((1.0, 1.0, 8.0), (32, 32, 8), (32, 32, 20), (1, 1, 1), 0.375),
    ],
)
def test_the_share_outside_the_grid_is_one_of_extents(
    tmp_path: Path,
    spacing: tuple[float, float, float],
    size: tuple[int, int, int],
    grid: tuple[int, int, int],
    spacing_mm: tuple[int, int, int],
    outside: float,
) -> None:
    """The labelled block is the middle half of each side, so the shares follow from lengths."""
    affine = np.diag([*spacing, 1.0])
    image = Volume(_noise(size, 0, 9), affine)
    folder = _case(tmp_path / "source", image, Volume(_block(size), affine))
    prepare(_settings(folder, grid, spacing_mm=spacing_mm), tmp_path / "out")
    measured = Cases.open(tmp_path / "out")[0].measured
    assert measured is not None
    assert measured.share_outside_grid == outside
