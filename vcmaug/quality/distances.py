"""Distances between two sets of descriptors: of Gaussian fits, and by a kernel statistic.

Both are biased upwards for few samples, so a real-vs-real row stands beside every synthetic one.
Covariances are shrunk towards their diagonal, and the matrix root is taken through eigenvalues,
which is stable where fewer samples than dimensions are at hand.

References:
    Dowson and Landau, 1982; Heusel et al., 2017, arXiv 1706.08500; Gretton et al., 2012, JMLR 13.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["frechet_distance", "mmd_rbf", "standardised"]

Rows = NDArray[np.float64]  # [N, D]


def standardised(reference: Rows, *others: Rows) -> tuple[Rows, ...]:
    """Return all sets in units of the reference's mean and deviation per column."""
    mean, deviation = reference.mean(axis=0), reference.std(axis=0) + 1e-9
    return tuple((rows - mean) / deviation for rows in (reference, *others))


def frechet_distance(first: Rows, second: Rows, *, shrinkage: float = 0.1) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets, at least 0.

    Args:
        first: [N1, D].
        second: [N2, D].
        shrinkage: Share of each covariance that is replaced by its diagonal.

    Raises:
        ValueError: A set has fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError("a Frechet distance needs two rows or more in each set")
    c1, c2 = _covariance(first, shrinkage), _covariance(second, shrinkage)
    values, vectors = np.linalg.eigh(c1)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ c2 @ root)
    cross = np.sqrt(np.clip(inner, 0.0, None)).sum()
    shift = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    return float(max(0.0, shift + np.trace(c1) + np.trace(c2) - 2.0 * cross))


def _covariance(rows: Rows, shrinkage: float) -> Rows:
    """Return a covariance [D, D], its off-diagonal part shrunk."""
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    return (1.0 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))


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
