"""Labelled cases in memory, all on one grid: what networks are trained on and scored on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import FaultyDataSet
from vcmaug.progress import Progress, Report, silent

__all__ = ["LabelledFiles", "LabelledVolumes", "read_labelled"]


class LabelledFiles(NamedTuple):
    """Image and label map of one case, on disk."""

    case_id: str
    image: Path
    label: Path


@dataclass(frozen=True)
class LabelledVolumes:
    """Labelled cases in memory.

    Attributes:
        names: Case ids.
        images: float32 [N, X, Y, Z].
        labels: Values of the scheme, uint16 [N, X, Y, Z].
        spacing_mm: Of all.
        orientation: Of the first.
        scheme: Meaning of the labels.
    """

    names: tuple[str, ...]
    images: NDArray[np.float32]
    labels: NDArray[np.uint16]
    spacing_mm: tuple[float, float, float]
    orientation: str
    scheme: LabelScheme

    def __len__(self) -> int:
        return len(self.names)


def read_labelled(
    files: Sequence[LabelledFiles], scheme: LabelScheme, *, report: Report = silent
) -> LabelledVolumes:
    """Return labelled cases that share one grid, in memory.

    Args:
        files: At least one.
        scheme: Of the label maps.
        report: Told after every case.

    Raises:
        FaultyDataSet: Grids differ, or a label map holds values of no structure; all at once.
    """
    images, maps = [], []
    for number, one in enumerate(files, start=1):
        images.append(read_image(one.image, case_id=one.case_id))
        maps.append(read_label_map(one.label, case_id=one.case_id))
        report(Progress("reading volumes", number, len(files)))
    faults = [
        fault
        for one, image, label in zip(files, images, maps, strict=True)
        for fault in _faults(one, image, label, first=images[0], scheme=scheme)
    ]
    if faults:
        raise FaultyDataSet("reading labelled volumes", faults, advice="Prepare them on one grid.")
    return LabelledVolumes(
        names=tuple(one.case_id for one in files),
        images=np.stack([image.array for image in images]),
        labels=np.stack([label.array for label in maps]),
        spacing_mm=images[0].spacing_mm,
        orientation=images[0].orientation,
        scheme=scheme,
    )


def _faults(
    files: LabelledFiles, image: Volume, label: Volume, *, first: Volume, scheme: LabelScheme
) -> list[str]:
    """Return what is wrong with one case beside the first."""
    faults = []
    near = np.allclose(image.spacing_mm, first.spacing_mm, rtol=1e-3)
    if image.shape != first.shape or not near:
        faults.append(f"case {files.case_id}, {files.image}: not the first case's shape or spacing")
    if not same_grid(image, label):
        faults.append(f"case {files.case_id}, {files.label}: not on the grid of its image")
    if unknown := scheme.unknown_values(label.array):
        faults.append(f"case {files.case_id}, {files.label}: values {unknown} are no structure's")
    return faults
