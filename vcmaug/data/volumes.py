"""Labelled cases in memory, all on one grid: what networks are trained on and scored on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import other_grid, other_voxels
from vcmaug.errors import DataError, FaultyDataSet
from vcmaug.shapes import Shape3, as_shape3

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LabelledVolumes", "read_case_volumes"]


@dataclass(frozen=True)
class LabelledVolumes:
    """Labelled cases in memory.

    Attributes:
        names: Case ids.
        images: float32 [N, X, Y, Z].
        labels: Values of the scheme, uint16 [N, X, Y, Z].
        spacing_mm: Of all.
        orientation: Of all.
        scheme: Meaning of the labels.
    """

    names: tuple[str, ...]
    images: NDArray[np.float32]
    labels: NDArray[np.uint16]
    spacing_mm: tuple[float, float, float]
    orientation: str
    scheme: LabelScheme

    @property
    def shape(self) -> Shape3:
        """Voxels along each axis."""
        return as_shape3(self.images.shape[1:])

    def tensors(self) -> tuple["Tensor", "Tensor"]:
        """Return images [N, 1, X, Y, Z] and channel numbers, uint8 [N, X, Y, Z], for networks."""
        import torch

        channels = self.scheme.channels(self.labels)
        return torch.from_numpy(self.images)[:, None], torch.from_numpy(channels)


def read_case_volumes(cases: Sequence[Case], scheme: LabelScheme) -> LabelledVolumes:
    """Return labelled cases that share one grid, in memory.

    Raises:
        DataError: There is no case, or one has no label map.
        FaultyDataSet: Grids differ, or a label map holds values of no structure; all at once.
    """
    labels = {case.case_id: case.label for case in cases if case.label is not None}
    bare = [case.case_id for case in cases if case.case_id not in labels]
    if bare or not cases:
        raise DataError(f"reading labelled cases: {', '.join(bare) or 'none given'}: no label map.")
    images = [read_image(case.image, case_id=case.case_id) for case in cases]
    maps = [read_label_map(path, case_id=name) for name, path in labels.items()]
    first, faults = images[0], []
    for case, image, label in zip(cases, images, maps, strict=True):
        if differs := other_voxels(image, than=first):
            faults.append(
                f"case {case.case_id}, {case.image}: not like case {cases[0].case_id}: {differs}"
            )
        if differs := other_grid(label, than=image):
            faults.append(
                f"case {case.case_id}, {case.label}: not on the grid of its image: {differs}"
            )
        if unknown := scheme.unknown_values(label.array):
            faults.append(f"case {case.case_id}, {case.label}: values {unknown} are no structure's")
    if faults:
        raise FaultyDataSet("reading labelled volumes", faults, advice="Prepare them on one grid.")
    return LabelledVolumes(
        names=tuple(case.case_id for case in cases),
        images=np.stack([image.array for image in images]),
        labels=np.stack([label.array for label in maps]),
        spacing_mm=first.spacing_mm,
        orientation=first.orientation,
        scheme=scheme,
    )
