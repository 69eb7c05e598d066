"""`frechet_distance`: distance of Gaussian fits to descriptors of drawn and real images."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from vcmaug.quality.distances import frechet_distance
from vcmaug.quality.measured import Measured
from vcmaug.quality.metrics.base import Row
from vcmaug.quality.metrics.distance import Distance

__all__ = ["FrechetDistance"]


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

    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return the distances of half of the real images from the others and from drawn ones."""
        halves = ground.halves
        return [
            {
                **self.sets(row, halves.real, other),
                self.figure: frechet_distance(halves.real, other),
            }
            for row, other in halves.pairs
        ]
