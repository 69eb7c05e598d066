"""What metrics are measured on: a cohort, real images, an evaluator, and what follows from them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.quality.adherence import adherence_rows
from vcmaug.quality.distances import standardised
from vcmaug.quality.features import describe
from vcmaug.quality.volumes import Reads, Volumes
from vcmaug.seeding import numpy_generator

__all__ = ["Halves", "Measured"]

Rows = NDArray[np.float64]  # [N, D]


@dataclass(frozen=True)
class Halves:
    """Descriptors of as many images each, in units of the first set's deviations."""

    real: Rows
    other_real: Rows
    drawn: Rows

    @property
    def pairs(self) -> tuple[tuple[str, Rows], ...]:
        """Names of rows, and the sets that are held against the first."""
        return ("real vs real", self.other_real), ("synthetic vs real", self.drawn)


@dataclass(frozen=True)
class Measured:
    """A cohort and what it is held against.

    Attributes:
        drawn: The cohort.
        held_out: Real cases that no model has seen.
        train_images: Images that prior or control has seen [N, X, Y, Z]; [0] without any.
        evaluator: Independent of the cohort's control; None: there is none.
    """

    drawn: Volumes
    held_out: Volumes
    train_images: NDArray[np.float32]
    evaluator: Reads | None

    @cached_property
    def adherence(self) -> pd.DataFrame:
        """Adherence per case and structure: case_id, source, structure, dice."""
        rows: list[dict[str, Any]] = []
        if self.evaluator is not None:
            rows += adherence_rows(self.drawn, self.evaluator, source="synthetic")
            rows += adherence_rows(self.held_out, self.evaluator, source="real")
        return pd.DataFrame(rows, columns=["case_id", "source", "structure", "dice"])

    @cached_property
    def halves(self) -> Halves:
        """Sets of equal size, so that distances between them can be compared."""
        order = numpy_generator("quality", "halves").permutation(len(self.held_out))
        half = min(len(self.held_out) // 2, len(self.drawn))
        real = self.held_out.images
        first, second = describe(real[order[:half]]), describe(real[order[half : 2 * half]])
        chosen = numpy_generator("quality", "drawn").permutation(len(self.drawn))[:half]
        return Halves(*standardised(first, second, describe(self.drawn.images[chosen])))
