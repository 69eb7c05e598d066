"""Training data of the study in memory: cases, their augmented versions, and batches.

Prepared cases and cohorts are read alike; a batch is drawn from (seed, step).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vcmaug.affine import spacing_of
from vcmaug.cohort.cohort import Cohort
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme, index_map
from vcmaug.data.mirror import mirror_of
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import same_grid
from vcmaug.downstream.augment import augmented
from vcmaug.downstream.settings import AugmentSettings
from vcmaug.errors import CohortError, DataError, FaultyDataSet
from vcmaug.seeding import torch_generator

__all__ = [
    "Bank",
    "LabelledVolumes",
    "read_case_volumes",
    "read_cohort_volumes",
]


@dataclass(frozen=True)
class LabelledVolumes:
    """Cases in memory.

    Attributes:
        names: Case ids.
        images: float32 [N, 1, X, Y, Z].
        labels: Channel indices, uint8 [N, X, Y, Z].
        spacing_mm: Of all.
        orientation: Of the first.
        scheme: Meaning of the channels.
    """

    names: tuple[str, ...]
    images: Tensor
    labels: Tensor
    spacing_mm: tuple[float, float, float]
    orientation: str
    scheme: LabelScheme


def read_case_volumes(cases: Sequence[Case], scheme: LabelScheme) -> LabelledVolumes:
    """Return prepared cases in memory.

    Raises:
        DataError: There is no case, or one has no label map.
    """
    bare = [case.case_id for case in cases if case.label is None]
    if bare or not cases:
        raise DataError(f"reading labelled cases: {', '.join(bare) or 'none given'}: no label map.")
    files = [(case.case_id, case.image, case.label) for case in cases if case.label]
    return _read(files, scheme)


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
            f"reading cohort {cohort.folder}: it has shape {tuple(found)} at {volumes.spacing_mm} "
            f"mm, the real cases {tuple(expected)} at {like.spacing_mm} mm. Use a prior of their "
            "grid."
        )
    return volumes


def _read(files: Sequence[tuple[str, Path, Path]], scheme: LabelScheme) -> LabelledVolumes:
    """Return images and label maps of files that share one grid.

    Raises:
        FaultyDataSet: Grids differ, or a label map holds values of no structure; all at once.
    """
    images = [read_image(image, case_id=name) for name, image, _ in files]
    maps = [read_label_map(path, case_id=name) for name, _, path in files]
    shape, spacing_mm = images[0].shape, spacing_of(images[0].affine)
    faults = []
    for (name, path, label_path), image, label in zip(files, images, maps, strict=True):
        if image.shape != shape or not np.allclose(spacing_of(image.affine), spacing_mm, rtol=1e-3):
            faults.append(f"case {name}, {path}: not the shape and spacing of case {files[0][0]}")
        if not same_grid(image, label):
            faults.append(f"case {name}, {label_path}: not on the grid of its image")
        if unknown := scheme.unknown_values(label.array):
            faults.append(f"case {name}, {label_path}: values {unknown} are no structure's")
    if faults:
        raise FaultyDataSet("reading labelled volumes", faults, advice="Prepare them on one grid.")
    return LabelledVolumes(
        names=tuple(name for name, _, _ in files),
        images=torch.from_numpy(np.stack([image.array for image in images])[:, None]),
        labels=torch.from_numpy(np.stack([index_map(label.array, scheme) for label in maps])),
        spacing_mm=spacing_mm,
        orientation=images[0].orientation,
        scheme=scheme,
    )


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
        self.images = volumes.images.repeat(versions, 1, 1, 1, 1)  # [V * N, 1, X, Y, Z]
        self.labels = volumes.labels.repeat(versions, 1, 1, 1)  # [V * N, X, Y, Z]
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
            self.volumes.images[case],
            self.volumes.labels[case],
            settings=self.settings,
            spacing_mm=self.volumes.spacing_mm,
            name=self.volumes.names[case],
            version=round_number + 1,
            seed=self.seed,
            mirror=self.mirror,
        )
        self.num_fresh += 1
