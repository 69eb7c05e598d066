"""Lesion-wise scores: which lesions were found, and what was taken for one.

What it is: sensitivity, precision and their harmonic mean over connected parts.
In the flow: beside Dice for those structures that a study names as lesions.
Sources: Commowick et al. 2018, Sci Rep (detection of lesions by the share of each that is covered).

Notes:
    A lesion of the reference is found where at least a tenth of it is predicted; a predicted one is
    true where at least a tenth of it lies in a lesion of the reference. Parts touch by corners. No
    lesion in either: all scores 1; in one of them alone: all 0.
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
