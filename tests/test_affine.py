import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vcmaug import affine as geometry


def _some(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    turn = Rotation.random(random_state=generator).as_matrix()
    return geometry.affine_of(turn * generator.uniform(0.5, 3, 3), generator.normal(size=3))


@pytest.mark.parametrize("seed", range(5))
def test_points_and_fields_are_moved_as_the_formula_says(seed: int) -> None:
    affine = _some(seed)
    points = np.random.default_rng(seed).normal(size=(4, 5, 6, 3))
    by_hand = points @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(geometry.moved_points(affine, points), by_hand, atol=1e-12)
    field = np.moveaxis(points, -1, 0)
    moved = geometry.moved_field(affine, field)
    np.testing.assert_allclose(np.moveaxis(moved, 0, -1), by_hand, atol=1e-12)


def test_spacing_does_not_depend_on_the_rotation() -> None:
    turn = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix()
    affine = geometry.affine_of(turn @ np.diag([1.0, 2.0, 3.0]))
    assert geometry.spacing_of(affine) == pytest.approx((1, 2, 3))
    assert geometry.orientation_of(affine) == "RAS"


def test_a_shift_by_one_voxel_is_one_step_of_the_first_axis() -> None:
    affine = _some(0)
    first = geometry.shifted(affine, (1, 0, 0))
    np.testing.assert_allclose(first[:3, 3], affine[:3, 3] + affine[:3, 0])
    assert np.array_equal(first[:3, :3], affine[:3, :3])


def test_an_axis_that_no_letter_names_is_not_found() -> None:
    assert [geometry.axis_towards("PIR", pair) for pair in ("RL", "AP", "SI")] == [2, 0, 1]
    with pytest.raises(StopIteration):
        geometry.side_axis("XYZ")
