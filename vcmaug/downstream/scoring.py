"""Dice and HD95 of one predicted structure, with rules for empty ones.

Reference and prediction both empty: Dice 1 and HD95 0 mm; one of them empty: Dice 0 and HD95 the
diagonal of the grid. So a missed structure is never left out of a mean.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.dice import dice_of

__all__ = ["score_structure"]


def score_structure(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], *, spacing_mm: Sequence[float]
) -> dict[str, float | bool]:
    """Return dice, hd95_mm, reference_empty and prediction_empty of one structure.

    Args:
        prediction: Voxels predicted [X, Y, Z].
        reference: Voxels of the reference.
        spacing_mm: Voxel size along each axis.

    References:
        Huttenlocher et al., "Comparing images using the Hausdorff distance", 1993.
    """
    empty = (not reference.any(), not prediction.any())
    return {
        "dice": dice_of(prediction, reference),
        "hd95_mm": _hd95_mm(prediction, reference, empty, spacing_mm),
        "reference_empty": empty[0],
        "prediction_empty": empty[1],
    }


def _hd95_mm(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    empty: tuple[bool, bool],
    spacing_mm: Sequence[float],
) -> float:
    """Return the 95th percentile of surface distances, the larger of both directions."""
    import torch
    from monai.metrics import compute_hausdorff_distance

    if all(empty):
        return 0.0
    if any(empty):
        return float(np.linalg.norm(np.asarray(reference.shape) * np.asarray(spacing_mm)))
    distance = compute_hausdorff_distance(
        torch.from_numpy(prediction)[None, None].float(),  # [1, 1, X, Y, Z]
        torch.from_numpy(reference)[None, None].float(),
        include_background=True,
        percentile=95,
        spacing=list(spacing_mm),
    )
    return float(distance)
