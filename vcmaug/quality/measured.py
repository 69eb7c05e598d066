"""What metrics are measured on: a cohort, real images, an evaluator, and what follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.errors import CohortError
from vcmaug.progress import Progress, Report
from vcmaug.quality.features import Rows, describe, standardised
from vcmaug.seeding import numpy_generator

__all__ = ["Halves", "Measured", "Reads", "Volumes", "volumes_of_cases", "volumes_of_cohort"]


class Reads(Protocol):
    """An independent evaluator, as far as metrics know it."""

    def adherence(
        self, images: NDArray[np.float32], asked: NDArray[np.uint16]
    ) -> Sequence[Mapping[str, float]]:
        """Return per image how well it fits its label map, by structure."""
        ...


@dataclass(frozen=True)
class Volumes:
    """Cases in memory: images and label maps [N, X, Y, Z]; [0] where there are none."""

    names: tuple[str, ...]
    images: NDArray[np.float32]
    maps: NDArray[np.uint16]

    def __len__(self) -> int:
        """Return N."""
        return len(self.names)

    def adherence(self, evaluator: Reads, *, source: str) -> pd.DataFrame:
        """Return what an evaluator finds against what was asked for, per case and structure.

        Args:
            evaluator: Trained on other subjects.
            source: "synthetic" or "real".

        Returns:
            A table with case_id, source, structure, dice.
        """
        found = evaluator.adherence(self.images, self.maps) if self.names else ()
        rows = [
            (case_id, source, structure, dice)
            for case_id, of_case in zip(self.names, found, strict=True)
            for structure, dice in of_case.items()
        ]
        return pd.DataFrame(rows, columns=["case_id", "source", "structure", "dice"])


def volumes_of_cohort(cohort: Path, *, report: Report) -> Volumes:
    """Return the finished cases of a cohort.

    Raises:
        CohortError: They are fewer than two.
    """
    cases = Cohort.open(cohort).cases
    if len(cases) < 2:
        raise CohortError(
            f"evaluating {cohort}: {len(cases)} finished cases, expected two or more."
        )
    return volumes_of_cases(cases, report=report)


def volumes_of_cases(cases: Sequence[Case], *, report: Report) -> Volumes:
    """Return the labelled ones of some cases."""
    files = [(case.case_id, case.image, case.label) for case in cases if case.label]
    images: list[NDArray[np.float32]] = []
    maps: list[NDArray[np.uint16]] = []
    for number, (case_id, image, label) in enumerate(files, start=1):
        images.append(read_image(image, case_id=case_id).array)
        maps.append(read_label_map(label, case_id=case_id).array)
        report(Progress("reading volumes", number, len(files)))
    if not images:
        return Volumes((), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.uint16))
    return Volumes(tuple(name for name, _, _ in files), np.stack(images), np.stack(maps))


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
        """Adherence per case and structure; see `Volumes.adherence`."""
        if self.evaluator is None:
            return pd.DataFrame(columns=["case_id", "source", "structure", "dice"])
        drawn = self.drawn.adherence(self.evaluator, source="synthetic")
        if not self.held_out:
            return drawn
        real = self.held_out.adherence(self.evaluator, source="real")
        return pd.concat([drawn, real], ignore_index=True)

    @cached_property
    def halves(self) -> Halves:
        """Sets of equal size, so that distances between them can be compared."""
        order = numpy_generator("quality", "halves").permutation(len(self.held_out))
        half = min(len(self.held_out) // 2, len(self.drawn))
        real = self.held_out.images
        first, second = describe(real[order[:half]]), describe(real[order[half : 2 * half]])
        chosen = numpy_generator("quality", "drawn").permutation(len(self.drawn))[:half]
        return Halves(*standardised(first, second, describe(self.drawn.images[chosen])))
