import itertools
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vcmaug.downstream.statistics import (
    Share,
    decimals_of,
    mean_of,
    paired_difference,
    share_of_gap,
)
from vcmaug.files import read_json
from vcmaug.seeding import numpy_generator

NOISE = 0.02  # of one score, in Dice


def _arms(
    generator: np.random.Generator,
    *,
    seeds: int,
    subjects: int,
    luck: float = 0.0,
    answer: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two arms without a difference: luck varies by seed, the answer by subject."""
    shape = (seeds, subjects)
    people = generator.normal(0.8, 0.05, (1, subjects))  # shared by both arms
    first, second = (people + generator.normal(0, NOISE, shape) for _ in range(2))
    second = second + generator.normal(0, luck, (seeds, 1))
    return first, second + generator.normal(0, answer, (1, subjects))


@pytest.mark.parametrize("answer", [0.0, 0.007])
@pytest.mark.parametrize("luck", [0.0, 0.003, 0.01])
@pytest.mark.parametrize(("seeds", "subjects"), [(3, 10), (3, 30), (5, 10), (5, 30)])
def test_under_no_effect_zero_is_left_out_as_often_as_the_interval_says(
    seeds: int, subjects: int, luck: float, answer: float
) -> None:
    num, outside = 600, 0
    for trial in range(num):
        generator = numpy_generator("no effect", seeds, subjects, luck, answer, trial)
        arms = _arms(generator, seeds=seeds, subjects=subjects, luck=luck, answer=answer)
        found = paired_difference(*arms)
        outside += not found.low <= 0 <= found.high
    # 3 to 7 %, and three deviations of 600 trials more; benchmarks/interval.py has 2,000
    assert 0.03 - 3 * sqrt(0.03 * 0.97 / num) <= outside / num
    assert outside / num <= 0.07 + 3 * sqrt(0.07 * 0.93 / num)


def test_one_seed_keeps_the_level_over_subjects() -> None:
    outside = 0
    for trial in range(600):
        arms = _arms(numpy_generator("one seed", trial), seeds=1, subjects=10)
        found = paired_difference(*arms)
        outside += not found.low <= 0 <= found.high
    assert 0.02 <= outside / 600 <= 0.08


def test_one_seed_has_the_interval_of_a_paired_t_test() -> None:
    found = mean_of(np.array([[0.01, 0.03, 0.02, 0.04]]))
    error = 0.0129099 / 2  # deviation over the root of 4
    assert found.high - found.mean == pytest.approx(3.1824463 * error, rel=1e-5)  # t, 3 degrees


def test_seeds_that_alone_vary_have_the_interval_of_a_t_test_over_seeds() -> None:
    found = mean_of(np.array([[0.01], [0.02], [0.06]]).repeat(8, axis=1))
    error = 0.0264575 / sqrt(3)
    assert found.high - found.mean == pytest.approx(4.3026527 * error, rel=1e-5)  # 2 degrees
    assert found.per_seed == pytest.approx((0.01, 0.02, 0.06))


def test_an_effect_larger_than_its_noise_is_found() -> None:
    generator = numpy_generator("effect")
    first = generator.normal(0.8, 0.1, (3, 30))
    second = first + generator.normal(0.02, 0.01, (3, 30))
    found = paired_difference(first, second)
    assert found.low > 0
    assert found.mean == pytest.approx(0.02, abs=0.005)
    assert (found.num_seeds, found.num_subjects) == (3, 30)
    assert found.per_seed == pytest.approx((second - first).mean(axis=1))


def test_seeds_that_disagree_widen_the_interval() -> None:
    same = numpy_generator("seeds").normal(0.0, 0.01, (4, 50))
    apart = same + np.array([-0.1, 0.1, -0.1, 0.1])[:, None]
    widths = [found.high - found.low for found in map(mean_of, (same, apart))]
    assert widths[1] > 5 * widths[0]


def test_gain_and_harm_of_one_size_have_one_width() -> None:
    scores = numpy_generator("sides").normal(0.02, 0.01, (3, 12))
    up, down = mean_of(scores), mean_of(-scores)
    assert (down.low, down.high) == (-up.high, -up.low)


def test_scores_that_do_not_vary_have_no_width() -> None:
    found = mean_of(np.full((3, 4), 0.5))
    assert found.low == found.mean == found.high == 0.5


def test_arms_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference(np.ones((1, 3)), np.ones((1, 4)))
    with pytest.raises(ValueError, match="no gaps"):
        mean_of(np.array([[0.1, np.nan]]))


@pytest.mark.parametrize(
    ("half_width", "decimals"),
    [(0.0017, 4), (0.0085, 3), (0.013, 3), (0.02, 2), (0.4, 1), (1.4, 1), (3.0, 0), (25.0, 0)],
)
def test_figures_have_the_decimals_that_their_interval_carries(
    half_width: float, decimals: int
) -> None:
    assert decimals_of(half_width) == decimals


def _gap(floor: float, arm: float, ceiling: float, *, noise: float) -> Share:
    generator = np.random.default_rng(0)
    base = generator.normal(0.0, 0.05, size=(3, 40))
    tables = [value + base + generator.normal(0, noise, (3, 40)) for value in (floor, arm, ceiling)]
    return share_of_gap(*tables)


def test_the_share_of_the_gap_is_that_of_the_means_and_pairing_takes_away_subjects() -> None:
    share = _gap(0.80, 0.83, 0.86, noise=0.002)
    assert share.share == pytest.approx(0.5, abs=0.02)
    assert share.low is not None
    assert share.high is not None
    assert 0.45 < share.low < 0.5 < share.high < 0.55


def test_the_ends_of_a_share_are_where_zero_enters_the_interval() -> None:
    generator = numpy_generator("share")
    floor, arm, ceiling = (generator.normal(mean, 0.01, (3, 20)) for mean in (0.8, 0.83, 0.86))
    share = share_of_gap(floor, arm, ceiling)
    for end, touches in ((share.low, "low"), (share.high, "high")):
        assert end is not None
        left = mean_of(arm - floor - end * (ceiling - floor))
        nearest = left.high if touches == "high" else left.low
        assert nearest == pytest.approx(0.0, abs=1e-9)


def test_a_gap_that_may_be_zero_gives_no_interval() -> None:
    share = _gap(0.80, 0.80, 0.801, noise=0.05)
    assert share.low is share.high is None


def test_no_gap_at_all_gives_no_share() -> None:
    table = np.full((1, 4), 0.5)
    assert share_of_gap(table, table, table) == Share(None, None, None)


def test_an_interval_is_never_far_narrower_than_scores_alone_would_give() -> None:
    """As where three seeds happen to agree, and subjects too, though single scores do not."""
    seeds, subjects = 3, 12
    scores = numpy_generator("by chance").normal(0, 0.02, (seeds, subjects))
    scores -= scores.mean(axis=0) + scores.mean(axis=1)[:, None]
    deviation = sqrt(((scores - scores.mean()) ** 2).sum() / ((seeds - 1) * (subjects - 1)))
    found = mean_of(scores)
    alone = 2.0738731 * deviation / sqrt(scores.size)  # t, 22 degrees
    assert found.high - found.mean == pytest.approx(alone / 3, rel=1e-4)


def test_the_benchmark_finds_that_the_level_is_kept() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "interval.json"
    found = read_json(path)
    places = [(row["seeds"], row["subjects"], row["luck"], row["answer"]) for row in found["rows"]]
    wanted = itertools.product((3, 5), (10, 30), (0.0, 0.003, 0.01), (0.0, 0.007))
    assert sorted(places) == sorted(wanted)
    assert found["studies"] == 2000
    assert all(0.03 <= row["interval_leaves_out_zero"] <= 0.07 for row in found["rows"])
