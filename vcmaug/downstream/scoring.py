"""Scores of one predicted label map: Dice and HD95 per structure, with rules for empty ones.

What it is: MONAI's metrics, and what they leave open.
In the flow: predictions on test subjects in, score rows out.
Sources: Dice 1945; Huttenlocher et al. 1993; MONAI's `compute_hausdorff_distance`.

Notes:
    Empty structures: reference and prediction both empty, Dice 1 and HD95 0; one of them empty,
    Dice 0 and HD95 the diagonal of the grid. So a missed structure is never left out of a mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from numpy.typing import NDArray

from vcmaug.data.labels import LabelScheme

__all__ = ["EMPTY_RULE", "StructureScore", "score_map"]

EMPTY_RULE = (
    "Reference and prediction both empty: Dice 1, HD95 0 mm. One of them empty: Dice 0, HD95 the "
    "diagonal of the grid."
)


@dataclass(frozen=True)
class StructureScore:
    """The score of one structure in one case."""

    structure: str
    dice: float
    hd95_mm: float
    reference_empty: bool
    prediction_empty: bool


def score_map(
    prediction: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    *,
    scheme: LabelScheme,
    spacing_mm: Sequence[float],
) -> list[StructureScore]:
    """Return the scores of one case, one per structure.

    Args:
        prediction: Channel indices [X, Y, Z]; k is structure k - 1 of the scheme.
        reference: Likewise.
        scheme: Names the structures.
        spacing_mm: Voxel size along each axis.
    """
    return [
        _score(prediction == channel, reference == channel, name, spacing_mm)
        for channel, name in enumerate(scheme.names, start=1)
    ]


def _score(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    name: str,
    spacing_mm: Sequence[float],
) -> StructureScore:
    """Return the score of one binary structure."""
    empty = (not reference.any(), not prediction.any())
    if all(empty):
        return StructureScore(name, 1.0, 0.0, *empty)
    if any(empty):
        extent_mm = np.asarray(reference.shape) * np.asarray(spacing_mm)
        return StructureScore(name, 0.0, float(np.linalg.norm(extent_mm)), *empty)
    first = torch.from_numpy(prediction)[None, None].float()  # [1, 1, X, Y, Z]
    second = torch.from_numpy(reference)[None, None].float()
    distance = compute_hausdorff_distance(
        first, second, include_background=True, percentile=95, spacing=list(spacing_mm)
    )
    dice = compute_dice(first, second, include_background=True)
    return StructureScore(name, float(dice), float(distance), *empty)
