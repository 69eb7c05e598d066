"""Lesion-wise scores: sensitivity, precision and F1 over connected components.

A study reports them beside Dice for the structures that it names as lesions.

References:
    Commowick et al. 2018, Objective evaluation of multiple sclerosis lesion segmentation using a
    data management and processing infrastructure, Sci Rep 8 (detection by the covered share).

Notes:
    A lesion of the reference is detected if at least a tenth of it is predicted; a predicted lesion
    is true if at least a tenth of it lies in a lesion of the reference. Components touch by corners
    too. No lesion in either map: all scores are 1; in one of them only: all are 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["lesion_wise"]

_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
_LEAST_COVERED = 0.1


def lesion_wise(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> dict[str, float]:
    """Return lesion_sensitivity, lesion_precision and lesion_f1 of one case.

    Args:
        prediction: Voxels predicted as lesion [X, Y, Z].
        reference: Voxels of lesions.
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


def _covered(mask: NDArray[Any], by: NDArray[Any]) -> tuple[int, int]:
    """Return how many parts of a mask another covers by a tenth, and how many there are."""
    parts, count = ndimage.label(mask, _NEIGHBOURS)
    if not count:
        return 0, 0
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    inside = np.bincount(parts[by], minlength=count + 1)[1:]
    return int((inside >= _LEAST_COVERED * sizes).sum()), count
