"""Prepared cases as tensors in memory: images, label maps as channel indices, and scalars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.scalars import raw_value, scalar_vector
from vcmaug.errors import DataError
from vcmaug.ldm.spec import PriorSpec

__all__ = ["read_images", "read_index_maps", "scalars_of"]


def read_images(cases: Sequence[Case]) -> Tensor:
    """Return the images of prepared cases, float32 [N, 1, X, Y, Z] in [0, 1]."""
    arrays = [read_image(case.image, case_id=case.case_id).array for case in cases]
    return torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32))


def read_index_maps(cases: Sequence[Case]) -> Tensor:
    """Return the label maps of prepared cases as channel indices, uint8 [N, X, Y, Z]; 0 is none.

    Raises:
        DataError: A case has no label map.
    """
    maps = []
    for case in cases:
        if case.label is None:
            raise DataError(
                f"reading label maps: case {case.case_id} has none, and a control is trained on "
                "labelled cases only."
            )
        label_map = read_label_map(case.label, case_id=case.case_id).array
        maps.append(label_map.astype(np.uint8))
    return torch.from_numpy(np.stack(maps))


def scalars_of(
    rows: Sequence[Mapping[str, Any]],
    spec: PriorSpec,
    *,
    fill: Mapping[str, float],
    and_mirrored: bool = False,
    clip_volumes: bool = False,
) -> Tensor | None:
    """Return normalised scalars [N, S] of rows of a case table; None for a prior without any.

    Args:
        rows: With the columns that the scalars read.
        spec: Names the scalars.
        fill: What replaces a missing one, in its own unit.
        and_mirrored: Those of the mirrored cases come after them, [2 N, S]; there the volume of a
            structure is that of its other side.
        clip_volumes: Volumes of structures are brought into their range, as those of conditions.
    """
    if not spec.scalars:
        return None
    turns = [spec.scalars]
    if and_mirrored:
        turns.append(tuple(scalar.mirrored() for scalar in spec.scalars))
    found = []
    for scalars in turns:
        for row in rows:
            values = {scalar.name: raw_value(scalar, row) for scalar in scalars}
            for scalar in scalars if clip_volumes else ():
                value = values[scalar.name]
                if scalar.structures and value is not None:
                    values[scalar.name] = min(max(value, scalar.low), scalar.high)
            found.append(torch.from_numpy(scalar_vector(scalars, values, fill=fill)))
    return torch.stack(found)
