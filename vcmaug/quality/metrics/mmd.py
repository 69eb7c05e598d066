"""`mmd`: kernel two-sample statistic of descriptors of drawn and real images, with a p value."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from vcmaug.quality.distances import mmd_rbf
from vcmaug.quality.measured import Measured
from vcmaug.quality.metrics.base import Row
from vcmaug.quality.metrics.distance import Distance
from vcmaug.seeding import numpy_generator

__all__ = ["MMD"]

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

    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return the distances of half of the real images from the others and from drawn ones."""
        halves = ground.halves
        rows: list[Row] = []
        for row, other in halves.pairs:
            mmd, p_value = mmd_rbf(
                halves.real,
                other,
                num_permutations=_PERMUTATIONS,
                generator=numpy_generator("quality", "permutations"),
            )
            figures = {self.figure: mmd, "mmd_p_value": p_value}
            rows.append({**self.sets(row, halves.real, other), **figures})
        return rows
