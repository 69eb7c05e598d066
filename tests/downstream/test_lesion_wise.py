"""Lesion-wise scores of made-up lesions, counted by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vcmaug.downstream.scoring import lesion_wise


def boxes(*places: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask of boxes of 4x4x4 voxels, or fewer along x, at x = first .. last."""
    mask = np.zeros((40, 6, 6), dtype=bool)
    for first, last in places:
        mask[first:last, 1:5, 1:5] = True
    return mask


def test_two_of_three_are_found_and_one_is_false() -> None:
    """Found: one whole, one by a quarter. Missed: one. False: one of three predicted."""
    scores = lesion_wise(boxes((0, 4), (10, 11), (30, 34)), boxes((0, 4), (10, 14), (20, 24)))
    assert scores["lesion_sensitivity"] == pytest.approx(2 / 3)
    assert scores["lesion_precision"] == pytest.approx(2 / 3)
    assert scores["lesion_f1"] == pytest.approx(2 / 3)


def test_a_touch_is_not_a_find() -> None:
    """One voxel of 64 is less than a tenth; for the predicted voxel it is all."""
    prediction = np.zeros((40, 6, 6), dtype=bool)
    prediction[0, 1, 1] = True
    scores = lesion_wise(prediction, boxes((0, 4)))
    assert scores["lesion_sensitivity"] == 0.0
    assert scores["lesion_precision"] == 1.0
    assert scores["lesion_f1"] == 0.0


def test_empty_maps_have_their_stated_scores() -> None:
    assert set(lesion_wise(boxes(), boxes()).values()) == {1.0}
    assert set(lesion_wise(boxes((0, 4)), boxes()).values()) == {0.0}
    assert set(lesion_wise(boxes(), boxes((0, 4))).values()) == {0.0}
