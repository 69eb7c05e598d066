"""Scores of one predicted structure: Dice and HD95, and lesion by lesion.

Where reference and prediction are both empty, Dice is 1, HD95 0 mm, the volume's error 0 % and
every lesion-wise score 1; where one of them is, Dice is 0, HD95 the diagonal of the grid, the error
100 % and every lesion-wise score 0. So a missed structure is never left out of a mean.

References:
    Commowick et al. 2018, Objective evaluation of multiple sclerosis lesion segmentation using a
    data management and processing infrastructure, Sci Rep 8 (detection by the covered share).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.data.dice import dice_of

__all__ = ["lesion_wise", "score_structure", "volume_error"]

_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
_LEAST_COVERED = 0.1


def score_structure(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], *, spacing_mm: Sequence[float]
) -> dict[str, float | bool]:
    """Return dice, hd95_mm, volume_error, reference_empty and prediction_empty of one structure.

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
        "volume_error": volume_error(prediction, reference),
        "reference_empty": empty[0],
        "prediction_empty": empty[1],
    }


def volume_error(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Return how far the volume is from that of the reference, in % of it."""
    found, there = np.count_nonzero(prediction), np.count_nonzero(reference)
    if there == 0:
        return 0.0 if found == 0 else 100.0
    return 100.0 * abs(found - there) / there


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


def lesion_wise(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> dict[str, float]:
    """Return lesion_sensitivity, lesion_precision and lesion_f1 of one case.

    Args:
        prediction: Voxels predicted as lesion [X, Y, Z].
        reference: Voxels of lesions.

    Notes:
        A lesion of the reference is detected if at least a tenth of it is predicted; a predicted
        lesion is true if at least a tenth of it lies in a lesion of the reference. Components touch
        by corners too.
    """
    found, there = _covered(reference, prediction)
    true, shown = _covered(prediction, reference)
    if not there and not shown:
        values = (1.0, 1.0, 1.0)
    else:
        sensitivity = found / there if there else 0.0
        precision = true / shown if shown else 0.0
        both = sensitivity + precision
        values = (sensitivity, precision, 2 * sensitivity * precision / both if both else 0.0)
    names = ("lesion_sensitivity", "lesion_precision", "lesion_f1")
    return dict(zip(names, values, strict=True))


def _covered(mask: NDArray[np.bool_], by: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many parts of a mask another covers by a tenth, and how many there are."""
    parts, count = ndimage.label(mask, _NEIGHBOURS)
    if not count:
        return 0, 0
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    inside = np.bincount(parts[by], minlength=count + 1)[1:]
    return int((inside >= _LEAST_COVERED * sizes).sum()), count
