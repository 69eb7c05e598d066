"""`mmd`: kernel two-sample statistic of descriptors of drawn and real images, with a p value.

References:
    Gretton et al., 2012, JMLR 13.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmaug.quality.features import Rows
from vcmaug.quality.metrics.base import Distance
from vcmaug.seeding import numpy_generator

__all__ = ["MMD", "mmd_rbf"]

_PERMUTATIONS = 199


class MMD(Distance):
    """The squared maximum mean discrepancy, with its permutation test."""

    name: Literal["mmd"] = "mmd"

    figure: ClassVar[str] = "mmd_squared"
    title: ClassVar[str] = "MMD squared"
    blind_spot: ClassVar[str] = (
        "It sees what the descriptors see; with few images a large p value shows nothing."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **Distance.columns,
        "mmd_squared": "MMD squared",
        "mmd_p_value": "p (permutation)",
    }

    def between(self, real: Rows, other: Rows) -> Mapping[str, float]:
        """Return the statistic and its p value."""
        generator = numpy_generator("quality", "permutations")
        mmd, p_value = mmd_rbf(real, other, num_permutations=_PERMUTATIONS, generator=generator)
        return {self.figure: mmd, "mmd_p_value": p_value}


def mmd_rbf(
    first: Rows, second: Rows, *, num_permutations: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy and its permutation p value.

    Args:
        first: [N1, D].
        second: [N2, D].
        num_permutations: Of the labels of the two sets.
        generator: Of the permutations.

    Notes:
        Gaussian kernel; its width is the median distance over both sets.
    """
    from scipy.spatial.distance import cdist

    both = np.concatenate([first, second])
    squared = cdist(both, both, "sqeuclidean")
    median = np.median(squared[np.triu_indices_from(squared, k=1)])
    kernel = np.exp(-squared / max(float(median), 1e-12))
    size = len(first)
    found = _mmd(kernel, np.arange(len(both)), size)
    draws = [_mmd(kernel, generator.permutation(len(both)), size) for _ in range(num_permutations)]
    p_value = (1 + sum(draw >= found for draw in draws)) / (1 + num_permutations)
    return found, float(p_value)


def _mmd(kernel: Rows, order: NDArray[np.int_], size: int) -> float:
    """Return the biased statistic for the first `size` of an order against the rest."""
    a, b = order[:size], order[size:]
    within = kernel[np.ix_(a, a)].mean() + kernel[np.ix_(b, b)].mean()
    return float(within - 2.0 * kernel[np.ix_(a, b)].mean())
