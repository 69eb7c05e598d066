import numpy as np
import pytest

from vcmaug.downstream.statistics import Share, bootstrap_mean, paired_bootstrap, share_of_gap
from vcmaug.seeding import numpy_generator


def test_under_no_effect_the_interval_leaves_out_zero_about_as_often_as_it_says() -> None:
    outside = 0
    for trial in range(300):
        generator = numpy_generator("no effect", trial)
        subjects = generator.normal(0.8, 0.05, (1, 40))  # shared by both arms
        first, second = (subjects + generator.normal(0, 0.02, (1, 40)) for _ in range(2))
        found = paired_bootstrap(first, second, num_draws=300, generator=generator)
        outside += not found.low <= 0 <= found.high
    assert 0.02 <= outside / 300 <= 0.10  # nominal 0.05; 0.10 is four deviations away


def test_under_no_effect_three_seeds_that_vary_a_little_keep_the_level() -> None:
    outside = 0
    for trial in range(150):
        generator = numpy_generator("no effect, seeds", trial)
        subjects = generator.normal(0.8, 0.05, (1, 40))
        first, second = (subjects + generator.normal(0, 0.02, (3, 40)) for _ in range(2))
        second = second + generator.normal(0, 0.003, (3, 1))  # luck of a training, by seed
        found = paired_bootstrap(first, second, num_draws=200, generator=generator)
        outside += not found.low <= 0 <= found.high
    assert outside / 150 <= 0.10


def test_an_effect_larger_than_its_noise_is_found() -> None:
    generator = numpy_generator("effect")
    first = generator.normal(0.8, 0.1, (3, 30))
    second = first + generator.normal(0.02, 0.01, (3, 30))
    found = paired_bootstrap(first, second, num_draws=500, generator=generator)
    assert found.low > 0
    assert found.mean == pytest.approx(0.02, abs=0.005)
    assert (found.num_seeds, found.num_subjects, found.seeds_resampled) == (3, 30, True)
    assert found.per_seed == pytest.approx((second - first).mean(axis=1))


def test_seeds_that_disagree_widen_the_interval() -> None:
    generator = numpy_generator("seeds")
    same = generator.normal(0.0, 0.01, (4, 50))
    apart = same + np.array([-0.1, 0.1, -0.1, 0.1])[:, None]
    widths = [
        found.high - found.low
        for scores in (same, apart)
        for found in [bootstrap_mean(scores, num_draws=500, generator=generator)]
    ]
    assert widths[1] > 5 * widths[0]


def test_one_seed_is_said_not_to_be_resampled() -> None:
    scores = numpy_generator("one").normal(0, 1, (1, 20))
    assert not bootstrap_mean(scores, num_draws=100, generator=numpy_generator(0)).seeds_resampled


def test_arms_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap(
            np.ones((1, 3)), np.ones((1, 4)), num_draws=10, generator=numpy_generator(0)
        )
    gap = np.array([[0.1, np.nan]])
    with pytest.raises(ValueError, match="no gaps"):
        bootstrap_mean(gap, num_draws=10, generator=numpy_generator(0))


def _gap(floor: float, arm: float, ceiling: float, *, noise: float) -> Share:
    generator = np.random.default_rng(0)
    base = generator.normal(0.0, 0.05, size=(3, 40))
    tables = [value + base + generator.normal(0, noise, (3, 40)) for value in (floor, arm, ceiling)]
    return share_of_gap(*tables, num_draws=400, generator=np.random.default_rng(1))


def test_the_share_of_the_gap_is_that_of_the_means_and_pairing_takes_away_subjects() -> None:
    share = _gap(0.80, 0.83, 0.86, noise=0.002)
    assert share.share == pytest.approx(0.5, abs=0.02)
    assert share.low is not None
    assert share.high is not None
    assert 0.45 < share.low < 0.5 < share.high < 0.55


def test_a_gap_that_may_be_zero_gives_no_interval() -> None:
    share = _gap(0.80, 0.80, 0.801, noise=0.05)
    assert share.low is share.high is None


def test_no_gap_at_all_gives_no_share() -> None:
    table = np.full((1, 4), 0.5)
    none = share_of_gap(table, table, table, num_draws=10, generator=np.random.default_rng(0))
    assert none == Share(None, None, None)
