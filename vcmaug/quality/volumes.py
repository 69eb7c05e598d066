"""What metrics are measured on: drawn, held-out and training images in memory, and descriptors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vcmaug.cohort.manifest import read_manifest
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.errors import CohortError
from vcmaug.progress import Progress, Report
from vcmaug.quality.distances import standardised
from vcmaug.quality.features import describe
from vcmaug.seeding import numpy_generator

__all__ = ["Halves", "Measured", "Reads", "Volumes", "volumes_of_cases", "volumes_of_cohort"]

Rows = NDArray[np.float64]  # [N, D]


class Reads(Protocol):
    """An independent evaluator, as far as metrics know it."""

    def adherence(
        self, images: NDArray[np.float32], asked: NDArray[np.uint16]
    ) -> Sequence[Mapping[str, float]]:
        """Return per image how well it fits the label map asked for, by structure."""
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
    def halves(self) -> Halves:
        """Sets of equal size, so that distances between them can be compared."""
        order = numpy_generator("quality", "halves").permutation(len(self.held_out))
        half = min(len(self.held_out) // 2, len(self.drawn))
        real = self.held_out.images
        first, second = describe(real[order[:half]]), describe(real[order[half : 2 * half]])
        chosen = numpy_generator("quality", "drawn").permutation(len(self.drawn))[:half]
        return Halves(*standardised(first, second, describe(self.drawn.images[chosen])))


def volumes_of_cohort(cohort: Path, *, report: Report) -> Volumes:
    """Return the finished cases of a cohort.

    Raises:
        CohortError: They are fewer than two.
    """
    manifest = read_manifest(cohort)
    done = manifest[manifest["status"] == "done"]
    if len(done) < 2:
        raise CohortError(f"evaluating {cohort}: {len(done)} finished cases, expected two or more.")
    rows = zip(done["case_id"], done["image"], done["label"], strict=True)
    return _read([(str(n), cohort / str(i), cohort / str(label)) for n, i, label in rows], report)


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
