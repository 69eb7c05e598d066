"""Training data of the study in memory: cases, their augmented versions, and batches.

Prepared cases and cohorts are read alike; a batch is drawn from (seed, step).
"""

import time

import numpy as np
import torch
from torch import Tensor

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.labels import LabelScheme
from vcmaug.data.mirror import mirror_of
from vcmaug.data.volumes import LabelledVolumes, read_case_volumes
from vcmaug.downstream.augment import augmented
from vcmaug.downstream.settings import AugmentSettings
from vcmaug.errors import CohortError
from vcmaug.seeding import torch_generator

__all__ = [
    "Bank",
    "LabelledVolumes",
    "read_case_volumes",
    "read_cohort_volumes",
]


def read_cohort_volumes(
    cohort: Cohort, scheme: LabelScheme, *, like: LabelledVolumes
) -> LabelledVolumes:
    """Return the finished cases of a cohort in memory.

    Args:
        cohort: A finished one.
        scheme: Must be the cohort's.
        like: Real cases that it is to be mixed with.

    Raises:
        CohortError: No case is finished, or the grid is another than the real cases'.
    """
    if not cohort.cases:
        raise CohortError(
            f"reading cohort {cohort.folder}: no case is finished. Generate it again."
        )
    volumes = read_case_volumes(cohort.cases, scheme)
    found, expected = volumes.images.shape[1:], like.images.shape[1:]
    if found != expected or not np.allclose(volumes.spacing_mm, like.spacing_mm, rtol=1e-3):
        raise CohortError(
            f"reading cohort {cohort.folder}: it has shape {found} at {volumes.spacing_mm} mm, the "
            f"real cases {expected} at {like.spacing_mm} mm. Use a prior of their grid."
        )
    return volumes


class Bank:
    """Versions of cases in memory, renewed a little with every draw.

    It starts with the cases themselves. While samples are drawn, `fresh` new versions per sample
    take the place of the oldest ones, case by case; so their cost is in proportion to the
    training, and each version is seen about 1 / fresh times whatever the number of cases.

    Args:
        volumes: Cases.
        settings: How strong the augmentation is, and how many versions are new.
        versions: Kept of each case.
        seed: Of the training.

    Raises:
        DataError: Cases are to be mirrored, and a structure lacks its other side.
    """

    def __init__(
        self, volumes: LabelledVolumes, settings: AugmentSettings, *, versions: int, seed: int
    ) -> None:
        self.volumes = volumes
        self.settings = settings
        self.seed = seed
        self.mirror = mirror_of(volumes.orientation, volumes.scheme) if settings.flip else None
        self.originals = volumes.tensors()
        self.images = self.originals[0].repeat(versions, 1, 1, 1, 1)  # [V * N, 1, X, Y, Z]
        self.labels = self.originals[1].repeat(versions, 1, 1, 1)  # [V * N, X, Y, Z]
        self.num_drawn = 0
        self.num_fresh = 0
        self.seconds = 0.0

    def draw(self, num: int, *, step: int, purpose: str) -> tuple[Tensor, Tensor]:
        """Return num images [num, 1, X, Y, Z] and labels [num, X, Y, Z].

        What is drawn depends on the seed, the step and the number of samples drawn before.
        """
        self.num_drawn += num
        began = time.perf_counter()
        while self.num_fresh < int(self.settings.fresh * self.num_drawn):
            self._renew()
        self.seconds += time.perf_counter() - began
        generator = torch_generator(self.seed, purpose, step)
        places = torch.randint(len(self.labels), (num,), generator=generator)
        return self.images[places], self.labels[places].long()

    def _renew(self) -> None:
        """Put the next new version in the place of the oldest."""
        round_number, case = divmod(self.num_fresh, len(self.volumes.names))
        place = self.num_fresh % len(self.labels)
        self.images[place], self.labels[place] = augmented(
            self.originals[0][case],
            self.originals[1][case],
            settings=self.settings,
            spacing_mm=self.volumes.spacing_mm,
            name=self.volumes.names[case],
            version=round_number + 1,
            seed=self.seed,
            mirror=self.mirror,
        )
        self.num_fresh += 1
