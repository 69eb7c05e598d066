from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from vcmaug.data.deformation import (
    deform_image,
    deform_label_map,
    draw_velocity,
    integrate,
    least_jacobian,
    turned,
    upsampled,
)
from vcmaug.data.intensity import IntensitySettings, scaled, window_of
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.seeding import numpy_generator

SHAPE = (20, 24, 18)


def _velocity(longest_mm: float = 4.0, seed: int = 0) -> np.ndarray:
    return draw_velocity(
        SHAPE,
        spacing_mm=(1.0, 2.0, 1.0),
        max_displacement_mm=longest_mm,
        smoothness_mm=5.0,
        generator=numpy_generator(seed),
    )


def _displacement(velocity: np.ndarray) -> np.ndarray:
    return upsampled(integrate(velocity, SHAPE), SHAPE)


def test_the_longest_velocity_is_as_long_as_asked() -> None:
    lengths = np.sqrt((_velocity() ** 2 * np.array([1, 4, 1]).reshape(3, 1, 1, 1)).sum(axis=0))
    assert lengths.max() == pytest.approx(4.0, rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_smooth_field_folds_nothing(seed: int) -> None:
    assert least_jacobian(integrate(_velocity(seed=seed), SHAPE), SHAPE) > 0


def test_forwards_and_backwards_is_where_one_began() -> None:
    forwards, backwards = _displacement(_velocity(2.0)), _displacement(-_velocity(2.0))
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    smooth = ndimage.gaussian_filter(image, 3.0)
    back = deform_image(deform_image(smooth, forwards), backwards)
    inside = (slice(4, -4),) * 3
    assert np.abs(back - smooth)[inside].max() < 0.15 * (smooth.max() - smooth.min())
    assert (
        np.abs(deform_image(smooth, forwards) - smooth)[inside].max()
        > np.abs(back - smooth)[inside].max()
    )


def test_a_constant_displacement_is_a_shift() -> None:
    displacement = np.zeros((3, *SHAPE), dtype=np.float32)
    displacement[0] = 1.0
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    np.testing.assert_allclose(
        deform_image(image, displacement)[:-1], image[1:], rtol=1e-4, atol=1e-5
    )
    assert least_jacobian(displacement, SHAPE) == pytest.approx(1.0)


def test_no_displacement_changes_nothing() -> None:
    label_map = np.random.default_rng(0).choice([0, 5, 9], SHAPE).astype(np.uint16)
    still = np.zeros((3, *SHAPE), dtype=np.float32)
    assert np.array_equal(deform_label_map(label_map, still), label_map)


def test_a_warped_label_map_has_no_new_value() -> None:
    label_map = np.zeros(SHAPE, dtype=np.uint16)
    label_map[4:12, 4:12, 4:12], label_map[8:16, 8:16, 8:12] = 5, 9
    warped = deform_label_map(label_map, _displacement(_velocity()))
    assert set(np.unique(warped)) <= {0, 5, 9}
    assert not np.array_equal(warped, label_map)


def test_bending_keeps_the_texture_of_an_image_and_its_range() -> None:
    """Half a voxel off in all three directions, linear interpolation keeps an eighth of noise."""
    image = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    half = np.full((3, 16, 16, 16), 0.5, dtype=np.float32)
    bent = deform_image(image, half)
    energies = [float(np.mean(np.diff(x[2:-2, 2:-2, 2:-2], axis=0) ** 2)) for x in (image, bent)]
    assert energies[1] > 0.3 * energies[0]
    assert image.min() <= bent.min() <= bent.max() <= image.max()


@pytest.mark.parametrize("least", [0.0, -1000.0])
def test_what_is_masked_stays_masked_without_rings(least: float) -> None:
    """Where a voxel and all its neighbours come from outside, the image has its least value."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:15, 6:18, 5:13] = True
    texture = np.random.default_rng(0).uniform(0.4, 1.0, SHAPE)
    image = np.where(mask, texture, least).astype(np.float32)
    displacement = _displacement(_velocity())
    deformed, moved = deform_image(image, displacement), deform_label_map(mask, displacement)
    around = ndimage.binary_dilation(mask, np.ones((3, 3, 3)))
    assert np.all(deformed[~deform_label_map(around, displacement)] == least)
    assert np.count_nonzero(deformed > least) > np.count_nonzero(moved)


@pytest.mark.data
def test_deformed_real_heads_are_zero_outside(ixi: Path) -> None:
    """At most 0.1 % of the voxels farther than two from the filled label map are above 0."""
    for number, path in enumerate(sorted((ixi / "t1").glob("*.nii.gz"))[:4]):
        head = read_image(path, case_id=path.name)
        name = path.name.replace("_T1", "_DLMUSE")
        label = read_label_map(ixi / "labels" / name, case_id=path.name)
        window = window_of(head.array, IntensitySettings(over="nonzero"))
        velocity = draw_velocity(
            head.shape,
            spacing_mm=head.spacing_mm,
            max_displacement_mm=8.0,
            smoothness_mm=16.0,
            generator=numpy_generator(number),
        )
        displacement = upsampled(integrate(velocity, head.shape), head.shape)
        image = deform_image(scaled(head.array, window), displacement)
        filled = ndimage.binary_fill_holes(deform_label_map(label.array, displacement) > 0)
        away = ~ndimage.binary_dilation(filled, iterations=2)
        assert (image[away] > 0).mean() < 1e-3
        assert (image[filled] > 0).mean() > 0.98


def test_the_least_jacobian_sees_a_fold() -> None:
    """A map that runs backwards somewhere: slope -2 between two planes of nodes."""
    displacement = np.zeros((3, *SHAPE), dtype=np.float32)
    displacement[0, 10:] = -2.0
    assert least_jacobian(displacement, SHAPE) == pytest.approx(-1.0)


def test_a_field_on_a_lattice_is_the_same_field_at_every_voxel() -> None:
    """A linear field is linear between nodes as well."""
    nodes = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 3, indexing="ij")).astype(np.float32)
    dense = upsampled(nodes, SHAPE)
    expected = np.stack(np.meshgrid(*[np.linspace(0, 1, size) for size in SHAPE], indexing="ij"))
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_a_quarter_turn_is_rot90_and_a_scale_of_two_is_eight_times_the_volume() -> None:
    shape = (21, 21, 21)
    still = np.zeros((3, 4, 4, 4), dtype=np.float32)
    label_map = np.zeros(shape, dtype=np.uint16)
    label_map[7:14, 9:12, 8:13] = 1

    def moved(**changes: tuple[float, float, float]) -> np.ndarray:
        asked = {"degrees": (0, 0, 0), "scales": (1, 1, 1), "translation_mm": (0, 0, 0)} | changes
        field = turned(still, shape, spacing_mm=(2.0, 2.0, 2.0), **asked)
        return deform_label_map(label_map, upsampled(field, shape))

    assert np.array_equal(moved(degrees=(0, 0, 90)), np.rot90(label_map, axes=(0, 1)))
    assert np.array_equal(moved(translation_mm=(0, 4, 0)), np.roll(label_map, 2, axis=1))
    larger = int(moved(scales=(2, 2, 2)).sum())
    assert larger == pytest.approx(8 * int(label_map.sum()), rel=0.25)
