"""Training data of the study in memory: cases, their augmented versions, and batches.

What it is: images and channel indices as tensors, and the draw of a batch from (seed, step).
In the flow: read from prepared cases and from cohorts alike; nothing of diffusion is loaded.
Sources: none.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vcmaug.cohort.manifest import read_manifest
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme, index_map
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import spacing_of
from vcmaug.downstream.augment import AugmentSettings, augmented
from vcmaug.errors import DataError
from vcmaug.seeding import torch_generator

__all__ = ["Bank", "LabelledVolumes", "build_bank", "read_case_volumes", "read_cohort_volumes"]


@dataclass(frozen=True)
class LabelledVolumes:
    """Cases in memory.

    Attributes:
        names: Case ids.
        images: float32 [N, 1, X, Y, Z].
        labels: Channel indices, uint8 [N, X, Y, Z].
        spacing_mm: Of all.
    """

    names: tuple[str, ...]
    images: Tensor
    labels: Tensor
    spacing_mm: tuple[float, float, float]


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
    folder: Path, scheme: LabelScheme, *, most: int | None = None
) -> LabelledVolumes:
    """Return the finished cases of a cohort in memory, in order of their index.

    Args:
        folder: A finished cohort.
        scheme: Must be the cohort's.
        most: Read so many at most.
    """
    manifest = read_manifest(folder)
    done = manifest[manifest["status"] == "done"].sort_values("index").head(most or len(manifest))
    files = [
        (str(row["case_id"]), folder / str(row["image"]), folder / str(row["label"]))
        for row in done.to_dict("records")
    ]
    return _read(files, scheme)


def _read(files: Sequence[tuple[str, Path, Path]], scheme: LabelScheme) -> LabelledVolumes:
    """Return images and label maps of files that share one grid."""
    images = [read_image(image, case_id=name) for name, image, _ in files]
    maps = [index_map(read_label_map(path, case_id=name).array, scheme) for name, _, path in files]
    return LabelledVolumes(
        names=tuple(name for name, _, _ in files),
        images=torch.from_numpy(np.stack([image.array for image in images])[:, None]),
        labels=torch.from_numpy(np.stack(maps)),
        spacing_mm=spacing_of(images[0].affine),
    )


@dataclass(frozen=True)
class Bank:
    """Augmented versions of cases: images [N, V, 1, X, Y, Z], labels [N, V, X, Y, Z]."""

    images: Tensor
    labels: Tensor
    seconds: float

    def draw(self, num: int, *, seed: int, step: int, purpose: str) -> tuple[Tensor, Tensor]:
        """Return num images [num, 1, X, Y, Z] and labels [num, X, Y, Z] from (seed, step)."""
        generator = torch_generator(seed, purpose, step)
        cases = torch.randint(self.images.shape[0], (num,), generator=generator)
        versions = torch.randint(self.images.shape[1], (num,), generator=generator)
        return self.images[cases, versions], self.labels[cases, versions].long()


def build_bank(
    volumes: LabelledVolumes, settings: AugmentSettings, *, versions: int, seed: int
) -> Bank:
    """Return the bank of some volumes.

    Args:
        volumes: Cases.
        settings: How strong the augmentation is.
        versions: Of each case.
        seed: Of the training.
    """
    began = time.perf_counter()
    pairs = [
        [
            augmented(
                image,
                labels,
                settings=settings,
                spacing_mm=volumes.spacing_mm,
                name=name,
                version=version,
                seed=seed,
            )
            for version in range(versions)
        ]
        for name, image, labels in zip(volumes.names, volumes.images, volumes.labels, strict=True)
    ]
    images = torch.stack([torch.stack([image for image, _ in row]) for row in pairs])
    labels = torch.stack([torch.stack([label for _, label in row]) for row in pairs])
    return Bank(images, labels, time.perf_counter() - began)
