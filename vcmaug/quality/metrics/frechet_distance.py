"""`frechet_distance`: distance of Gaussian fits to descriptors of drawn and real images.

Covariances are shrunk towards their diagonal, and the matrix root is taken through eigenvalues,
which is stable where fewer samples than dimensions are at hand.

References:
    Dowson and Landau, 1982; Heusel et al., 2017, arXiv 1706.08500.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from vcmaug.quality.features import Rows
from vcmaug.quality.metrics.base import Distance

__all__ = ["FrechetDistance", "frechet_distance"]


class FrechetDistance(Distance):
    """The Frechet distance, in units of the deviations of real images."""

    name: Literal["frechet_distance"] = "frechet_distance"

    figure: ClassVar[str] = "frechet_distance"
    title: ClassVar[str] = "Frechet distance"
    blind_spot: ClassVar[str] = (
        "It sees means and spreads of simple descriptors, and nothing of anatomy beyond them."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **Distance.columns,
        "frechet_distance": "Frechet distance",
    }

    def between(self, real: Rows, other: Rows) -> Mapping[str, float]:
        """Return the distance."""
        return {self.figure: frechet_distance(real, other)}


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
