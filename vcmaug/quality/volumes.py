"""Cohorts and real cases in memory, and what metrics know of an evaluator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.errors import CohortError
from vcmaug.progress import Progress, Report

__all__ = ["Reads", "Volumes", "volumes_of_cases", "volumes_of_cohort"]


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
    return _read([(c.case_id, c.image, c.label) for c in cases if c.label], report)


def _read(files: Sequence[tuple[str, Path, Path]], report: Report) -> Volumes:
    """Return files in memory."""
    images: list[NDArray[np.float32]] = []
    maps: list[NDArray[np.uint16]] = []
    for number, (case_id, image, label) in enumerate(files, start=1):
        images.append(read_image(image, case_id=case_id).array)
        maps.append(read_label_map(label, case_id=case_id).array)
        report(Progress("reading volumes", number, len(files)))
    if not images:
        return Volumes((), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.uint16))
    return Volumes(tuple(name for name, _, _ in files), np.stack(images), np.stack(maps))
