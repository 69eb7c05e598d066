"""What a study is told about one of its arms; arms themselves live on a floor above it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.volumes import LabelledVolumes
from vcmaug.errors import DataError

__all__ = ["Reading", "Rule", "TrainingData"]

Reading = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
"""From images [N, X, Y, Z] to channel numbers [N, X, Y, Z]."""


class Rule(Protocol):
    """What finds structures without a network; it is sent to workers by value."""

    @property
    def identity(self) -> object:
        """All that decides about it, but the cases, as JSON has it."""
        ...

    def fitted(self, real: LabelledVolumes) -> Reading:
        """Return how it reads images, from the labelled cases alone."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """What an arm trains on, and its place in the comparison.

    Attributes:
        cohorts: Folder of the cohort that is mixed with the real labelled cases, by
            (num_labelled, seed); None: the arm has real cases alone.
        sees_unlabelled: Its cohorts may hold other training subjects by pseudo-labels, which a
            network of exactly the labelled cases gave them.
        is_baseline: The other arms are held against it; one without a cohort is the floor of the
            label gap.
        is_ceiling: It trains on every labelled training subject, once per seed; what is left
            between it and the floor is the label gap.
        keeps_network: Its networks are written beside its results.
        has_other_batches: It draws other batches than the other arms; its difference from the floor
            is the noise of a training.
        of_all_labels: Its n labelled subjects are drawn from all that have labels, candidates or
            not.
        rule: What finds structures in this arm, where that is no network.
    """

    cohorts: Mapping[tuple[int, int], Path] | None = None
    sees_unlabelled: bool = False
    is_baseline: bool = False
    is_ceiling: bool = False
    keeps_network: bool = False
    has_other_batches: bool = False
    of_all_labels: bool = False
    rule: Rule | None = None

    @property
    def is_floor(self) -> bool:
        """Whether it is the baseline without any help."""
        return self.is_baseline and self.cohorts is None

    def cohort_of(self, num_labelled: int, seed: int) -> Path | None:
        """Return the folder of the cohort of one replicate; None for an arm without cohorts.

        Raises:
            DataError: The arm has cohorts, and none for this replicate.
        """
        if self.cohorts is None:
            return None
        if (num_labelled, seed) not in self.cohorts:
            raise DataError(
                f"running a study: an arm has no cohort for n = {num_labelled}, seed {seed}. Give "
                "one for every n and seed of the study."
            )
        return self.cohorts[num_labelled, seed]
