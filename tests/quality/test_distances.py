import numpy as np
import pytest

from vcmaug.quality.features import describe, standardised
from vcmaug.quality.metrics.frechet_distance import frechet_distance
from vcmaug.quality.metrics.mmd import mmd_rbf


def _draw(num: int, *, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).standard_normal((num, 3))


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    first, second = _draw(40_000, seed=1), _draw(40_000, shift=2.0, scale=3.0, seed=2)
    expected = 3 * 2.0**2 + 3 * (3.0 - 1.0) ** 2  # means, then deviations, in three dimensions
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.02)


def test_it_is_zero_for_a_set_and_itself_and_symmetric() -> None:
    first, second = _draw(50, seed=1), _draw(60, shift=0.5, seed=2)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_fewer_samples_than_dimensions_give_a_finite_number() -> None:
    rows = np.random.default_rng(0).standard_normal((2, 4, 36))
    assert np.isfinite(frechet_distance(rows[0], rows[1]))
    with pytest.raises(ValueError, match="two rows"):
        frechet_distance(rows[0][:1], rows[1])


def test_the_kernel_test_sees_a_shift_and_a_spread_and_not_nothing() -> None:
    generator = np.random.default_rng(0)
    cases = {"shift": _draw(60, shift=1.0, seed=2), "spread": _draw(60, scale=3.0, seed=3)}
    for other in cases.values():
        assert mmd_rbf(_draw(60), other, num_permutations=99, generator=generator)[1] <= 0.02
    p_values = [
        mmd_rbf(_draw(30, seed=2 * k), _draw(30, seed=2 * k + 1), num_permutations=99,
                generator=generator)[1]
        for k in range(20)
    ]  # fmt: skip
    assert np.mean(np.array(p_values) <= 0.1) < 0.4


def test_standardised_sets_have_the_reference_s_unit() -> None:
    reference, other = standardised(_draw(100, shift=5, scale=2), _draw(10, shift=5, scale=2))
    np.testing.assert_allclose(reference.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(reference.std(axis=0), 1, atol=1e-6)
    assert other.shape == (10, 3)


def test_descriptors_see_blur_and_layout() -> None:
    from scipy import ndimage

    images = np.random.default_rng(0).random((2, 12, 12, 12)).astype(np.float32)
    features = describe(images)
    assert features.shape == (2, 36)
    blurred = describe(ndimage.gaussian_filter(images, (0, 1, 1, 1)))
    assert (blurred[:, 2] < 0.5 * features[:, 2]).all()  # the gradient of the whole
    flipped = describe(images[:, ::-1].copy())
    np.testing.assert_allclose(flipped[:, :4], features[:, :4], rtol=1e-6)
    assert not np.allclose(flipped[:, 4:], features[:, 4:])
