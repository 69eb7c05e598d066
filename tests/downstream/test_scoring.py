import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice
from scipy import ndimage

from vcmaug.data.dice import dice_of
from vcmaug.data.labels import LabelScheme
from vcmaug.downstream.segmenters.unet import UNet
from vcmaug.downstream.tasks.base import Ground
from vcmaug.downstream.tasks.segmentation import Segmentation

GROUND = Ground(scheme=LabelScheme.from_mapping({"a": 1, "b": 2}), segmenter=UNet())
SPACING = (0.5, 1.0, 3.0)


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask that touch the outside through a face."""
    return mask & ~ndimage.binary_erosion(mask)


def _hd95(first: np.ndarray, second: np.ndarray) -> float:
    """Return HD95 by distance transforms, the larger of the two directed percentiles."""
    surfaces = _surface(first), _surface(second)
    distances = [ndimage.distance_transform_edt(~s, sampling=SPACING) for s in surfaces]
    there, back = distances[1][surfaces[0]], distances[0][surfaces[1]]
    return max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))


def _blob(generator: np.random.Generator) -> np.ndarray:
    noise = ndimage.gaussian_filter(generator.standard_normal((14, 14, 14)), 2.0)
    return (noise > np.percentile(noise, 70)).astype(np.uint8)  # many touch the border


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_dice_and_hd95_equal_an_independent_implementation(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = _blob(generator), _blob(generator)
    score = Segmentation().score(first, second, ground=GROUND, spacing_mm=SPACING)[0]
    overlap = 2 * np.sum(first * second) / (np.sum(first) + np.sum(second))
    assert score["dice"] == pytest.approx(overlap, rel=1e-5)
    assert score["hd95_mm"] == pytest.approx(_hd95(first > 0, second > 0), rel=1e-4, abs=1e-4)


def test_two_shifted_boxes_have_their_known_scores() -> None:
    first, second = np.zeros((2, 12, 12, 12), dtype=np.uint8)
    first[2:6, 2:6, 2:6], second[2:6, 2:6, 3:7] = 1, 1
    score = Segmentation().score(first, second, ground=GROUND, spacing_mm=SPACING)[0]
    assert score["dice"] == pytest.approx(0.75)
    assert score["hd95_mm"] == pytest.approx(3.0)  # one voxel along Z
    assert score["volume_error"] == 0.0
    first[2:4] = 0
    half, double = (
        Segmentation().score(one, other, ground=GROUND, spacing_mm=SPACING)[0]["volume_error"]
        for one, other in ((first, second), (second, first))
    )
    assert (half, double) == (50.0, 100.0)  # of the reference


def test_empty_structures_follow_the_stated_rule() -> None:
    empty, full = np.zeros((2, 4, 4, 4), dtype=np.uint8)
    full[1:3, 1:3, 1:3] = 1
    both = Segmentation().score(empty, empty, ground=GROUND, spacing_mm=SPACING)[0]
    assert (both["dice"], both["hd95_mm"], both["volume_error"]) == (1.0, 0.0, 0.0)
    diagonal = np.linalg.norm([4 * 0.5, 4 * 1.0, 4 * 3.0])
    for prediction, reference in ((empty, full), (full, empty)):
        score = Segmentation().score(prediction, reference, ground=GROUND, spacing_mm=SPACING)[0]
        assert (score["dice"], score["hd95_mm"]) == (0.0, pytest.approx(diagonal))
        assert score["volume_error"] == 100.0
        assert score["prediction_empty"] is (prediction is empty)


@pytest.mark.parametrize("seed", range(5))
def test_dice_has_the_very_bits_of_monai(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = _blob(generator), _blob(generator)
    both = (torch.from_numpy(one)[None, None].float() for one in (first, second))
    assert dice_of(first, second) == float(compute_dice(*both, include_background=True))
