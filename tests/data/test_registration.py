"""Registration of one head to another: a known map is found again, what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.data.registration import Registration, register
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = [-80, -90, -70]
SHAPE = (40, 46, 38)


def head(shift_mm: tuple[float, float, float] = (0, 0, 0), scale: float = 1.0) -> Volume:
    """Return an ellipsoid with ventricles and a lopsided bright spot, moved in the world."""
    places = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"))
    world = places * 4.0 + AFFINE[:3, 3].reshape(3, 1, 1, 1)
    own = (world - np.asarray(shift_mm).reshape(3, 1, 1, 1)) / scale

    def blob(centre: tuple[float, ...], radii: tuple[float, ...]) -> NDArray[np.bool_]:
        parts = zip(own, centre, radii, strict=True)
        inside: NDArray[np.bool_] = sum(((o - c) / r) ** 2 for o, c, r in parts) < 1
        return inside

    image = 0.6 * blob((0, 0, 0), (60, 75, 55)).astype(np.float32)
    image[blob((0, 0, 0), (50, 65, 45))] = 0.9
    image[blob((12, 5, 5), (8, 22, 10)) | blob((-12, 5, 5), (8, 22, 10))] = 0.2
    image[blob((30, 30, 10), (10, 10, 10))] = 0.45
    inside = image > 0
    return Volume((ndimage.gaussian_filter(image, 0.7) * inside).astype(np.float32), AFFINE)


@pytest.fixture(scope="module")
def found() -> Registration:
    return register(head(), head((8, -6, 4), 1.08), names=("fixed", "moving"))


def test_a_known_shift_and_scale_are_found_again(found: Registration) -> None:
    places = np.array([[0, 0, 0], [30, 30, 10], [-12, 5, 5], [20, -40, 0]], dtype=float).T
    expected = places * 1.08 + np.array([[8.0], [-6], [4]])
    np.testing.assert_allclose(found(places), expected, atol=3.5)  # below a voxel of 4 mm
    assert found.correlation > 0.9


def test_the_same_images_give_the_same_map_and_the_file_holds_it(
    found: Registration, tmp_path: Path
) -> None:
    again = register(head(), head((8, -6, 4), 1.08), names=("fixed", "moving"))
    assert np.array_equal(found.displacement_mm, again.displacement_mm)
    found.write(tmp_path / "map.npz")
    read = Registration.read(tmp_path / "map.npz")
    assert np.array_equal(read.displacement_mm, found.displacement_mm)
    assert read.correlation == found.correlation


def test_images_that_do_not_resemble_each_other_are_refused() -> None:
    noise = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    with pytest.raises(DataError, match="registering noise to fixed: "):
        register(head(), Volume(noise, AFFINE), names=("fixed", "noise"))
