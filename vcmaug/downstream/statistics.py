"""Means and paired differences between arms, with 95 % intervals over subjects and seeds.

The summary of a study reports them.

References:
    Burdick and Graybill 1992, Confidence intervals on variance components: the crossed model of two
    random factors, in which (MS_seeds + MS_subjects - MS_rest) / (seeds * subjects) estimates the
    variance of the mean. Fieller 1954, J R Stat Soc B 16, 175: the interval of a ratio.

Notes:
    Each mean square is taken with Student's t of its own degrees of freedom, so that three seeds
    count as three however many subjects there are. `benchmarks/interval.py` simulates studies
    without effect, with 3 and 5 seeds whose luck varies by 0, 0.003 or 0.01 Dice and with subjects
    that answer differently or do not: zero is left out in 3 to 6 %. A percentile bootstrap over
    seeds and subjects leaves it out in 0 to 11 %.

    With one seed the interval is over subjects and says nothing about other seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as students_t

__all__ = [
    "Estimate",
    "Share",
    "decimals_of",
    "in_decimals",
    "mean_of",
    "paired_difference",
    "share_of_gap",
]

_LEVEL = 0.95
_LEAST_SHARE = 1 / 3  # of the width that scores without luck of a seed or subject would have
_STEPS = 60  # of a bisection: past the digits of a float


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, and how many subjects and seeds it is over."""

    mean: float
    low: float
    high: float
    num_subjects: int
    num_seeds: int
    per_seed: tuple[float, ...]

    @property
    def decimals(self) -> int:
        """How many decimals of it the interval carries."""
        return decimals_of((self.high - self.low) / 2)


def decimals_of(half_width: float) -> int:
    """Return how many decimals a figure of such an uncertainty carries, 4 at most.

    One figure of the uncertainty is kept, two where the first is a 1.

    Examples:
        >>> decimals_of(0.0085), decimals_of(0.013), decimals_of(2.5), decimals_of(0.0)
        (3, 3, 0, 4)
    """
    if half_width <= 0:
        return 4
    first, exponent = f"{half_width:.3e}".split("e")
    return min(max(0, (first[0] == "1") - int(exponent)), 4)


def in_decimals(value: float, decimals: int, sign: Literal["", "+"] = "") -> str:
    """Return a figure as text with so many decimals; a zero has no minus.

    Args:
        value: The figure.
        decimals: How many it carries.
        sign: "+" for differences, which always show theirs.

    Examples:
        >>> in_decimals(-0.0004, 3), in_decimals(-0.0004, 4), in_decimals(0.02, 3, "+")
        ('0.000', '-0.0004', '+0.020')
    """
    return f"{value:{sign}z,.{decimals}f}"


def mean_of(scores: NDArray[np.float64]) -> Estimate:
    """Return the mean of scores [seeds, subjects] with a 95 % interval.

    Args:
        scores: One score per seed and subject, e.g. mean Dice over structures.

    Raises:
        ValueError: There are fewer than two subjects, or a score is missing.
    """
    num_seeds, num_subjects = scores.shape
    if num_subjects < 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} need two subjects or more and no gaps")
    mean, half_width = float(scores.mean()), _half_width(scores)
    return Estimate(
        mean=mean,
        low=mean - half_width,
        high=mean + half_width,
        num_subjects=num_subjects,
        num_seeds=num_seeds,
        per_seed=tuple(float(of_seed) for of_seed in scores.mean(axis=1)),
    )


def _half_width(scores: NDArray[np.float64]) -> float:
    """Return half the width of the interval of the mean of scores [seeds, subjects]."""
    num_seeds, num_subjects = scores.shape
    by_subject = scores.mean(axis=0)
    if num_seeds == 1:
        return sqrt(_t_squared(num_subjects - 1) * by_subject.var(ddof=1) / num_subjects)
    by_seed = scores.mean(axis=1)
    rest = scores - by_seed[:, None] - by_subject[None, :] + scores.mean()
    free = (num_seeds - 1) * (num_subjects - 1)
    of_seeds = num_subjects * by_seed.var(ddof=1)
    of_subjects = num_seeds * by_subject.var(ddof=1)
    of_rest = (rest**2).sum() / free
    squared = (
        _t_squared(num_seeds - 1) * of_seeds
        + _t_squared(num_subjects - 1) * of_subjects
        - _t_squared(free) * of_rest  # it is in both of the others
    )
    least = _t_squared(free) * of_rest * _LEAST_SHARE**2  # where both are small by chance
    return sqrt(max(squared, least) / scores.size)


def _t_squared(degrees_of_freedom: int) -> float:
    """Return the square of the quantile of Student's t that bounds a two-sided interval."""
    return float(students_t.ppf((1 + _LEVEL) / 2, degrees_of_freedom)) ** 2


def paired_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> Estimate:
    """Return the mean of second - first, each [seeds, subjects], with a 95 % interval.

    Raises:
        ValueError: The arms do not have the same seeds and subjects.
    """
    if first.shape != second.shape:
        raise ValueError(f"arms of shapes {first.shape} and {second.shape} cannot be paired")
    return mean_of(second - first)


@dataclass(frozen=True)
class Share:
    """A share of the label gap with its interval; an end is None where the gap may be zero."""

    share: float | None
    low: float | None
    high: float | None


def share_of_gap(
    floor: NDArray[np.float64], arm: NDArray[np.float64], ceiling: NDArray[np.float64]
) -> Share:
    """Return (arm - floor) / (ceiling - floor) of means, with a 95 % interval.

    Args:
        floor: Scores [seeds, subjects] without help.
        arm: Of the arm in question, likewise.
        ceiling: With every label, likewise.

    Notes:
        The interval holds every share r for which zero lies in the interval of gained - r * gap
        (Fieller). Where zero lies in the interval of the gap there is none.

    Raises:
        ValueError: The arms do not have the same seeds and subjects.
    """
    if not floor.shape == arm.shape == ceiling.shape:
        raise ValueError("a share of the label gap needs three arms of the same seeds and subjects")
    gained, gap = arm - floor, ceiling - floor
    if gap.mean() == 0:
        return Share(None, None, None)
    share = float(gained.mean() / gap.mean())
    if abs(gap.mean()) <= _half_width(gap):
        return Share(share, None, None)

    def is_inside(ratio: float) -> bool:
        left = gained - ratio * gap
        return abs(float(left.mean())) <= _half_width(left)

    return Share(share, _end(is_inside, share, -1.0), _end(is_inside, share, 1.0))


def _end(is_inside: Callable[[float], bool], start: float, step: float) -> float:
    """Return where an interval around a start ends in the direction of a step."""
    inside = start
    while is_inside(start + step):
        inside, step = start + step, 2 * step
    outside = start + step
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return inside
