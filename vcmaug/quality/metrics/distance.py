"""What metrics share that hold drawn images against real ones by descriptors."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmaug.quality.metrics.base import Metric, Need

__all__ = ["Distance"]


class Distance(Metric):
    """A distance between sets of equal size, beside the same distance between real images."""

    better: ClassVar[Literal["higher", "lower", "near 0.5"]] = "lower"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HOLD_OUT})
    fewest_hold_out: ClassVar[int] = 4
    section: ClassVar[str] = "distances"
    columns: ClassVar[Mapping[str, str]] = {
        "row": "sets",
        "num_first": "real",
        "num_second": "other",
    }

    @classmethod
    def caption(cls, evaluations: Sequence[Mapping[str, Any]]) -> str:
        """Return the caption of all distances."""
        del evaluations
        return (
            "Distance from real images (0 or more, lower is nearer), between sets of equal size. "
            "The row real vs real is the floor: one half of the held-out real images against the "
            "other."
        )

    @staticmethod
    def sets(
        row: str, first: NDArray[np.float64], second: NDArray[np.float64]
    ) -> dict[str, str | int]:
        """Return the name and the sizes of the sets of a row."""
        return {"row": row, "num_first": len(first), "num_second": len(second)}
