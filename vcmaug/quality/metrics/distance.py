"""What metrics share that hold drawn images against real ones by descriptors.

Such distances are biased upwards for few samples, so a real-vs-real row stands beside every
synthetic one.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from vcmaug.quality.features import Rows
from vcmaug.quality.measured import Measured
from vcmaug.quality.metrics.base import Better, Metric, Need, Row
from vcmaug.quality.results import Quality

__all__ = ["Distance"]


class Distance(Metric):
    """A distance between sets of equal size, beside the same distance between real images."""

    better: ClassVar[Better] = "lower"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HOLD_OUT})
    fewest_hold_out: ClassVar[int] = 4
    section: ClassVar[str] = "distances"
    columns: ClassVar[Mapping[str, str]] = {
        "row": "sets",
        "num_first": "real",
        "num_second": "other",
    }

    @abstractmethod
    def between(self, real: Rows, other: Rows) -> Mapping[str, float]:
        """Return the figures of two sets of descriptors."""

    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return the distances of half of the real images from the others and from drawn ones."""
        real = ground.halves.real
        return [
            {
                "row": row,
                "num_first": len(real),
                "num_second": len(other),
                **self.between(real, other),
            }
            for row, other in ground.halves.pairs
        ]

    @classmethod
    def caption(cls, evaluations: Sequence[Quality]) -> str:
        """Return the caption of all distances."""
        del evaluations
        return (
            "Distance from real images (0 or more, lower is nearer), between sets of equal size. "
            "The row real vs real is the floor: one half of the held-out real images against the "
            "other."
        )
