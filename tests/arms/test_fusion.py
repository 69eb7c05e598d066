"""Label maps carried over by registration, and their vote."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vcmaug.arms.fusion import Fusion
from vcmaug.data.deformation import (
    deform_image,
    deform_label_map,
    draw_velocity,
    integrate,
    upsampled,
)
from vcmaug.data.labels import LabelScheme
from vcmaug.data.registration import carried_over
from vcmaug.data.volume import Volume
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.errors import DataError

SCHEME = LabelScheme.from_mapping({"tissue": 1, "fluid": 2})
SHAPE = (32, 36, 32)


def _head() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return a head with bright folds and dark fluid."""
    places = np.indices(SHAPE) - np.reshape((15.5, 17.5, 15.5), (3, 1, 1, 1))
    away = np.sqrt(((places / np.reshape((12, 15, 12), (3, 1, 1, 1))) ** 2).sum(axis=0))
    fluid = (np.abs(places[0]) < 4) & (np.abs(places[1]) < 7) & (np.abs(places[2]) < 3)
    image = 0.6 + 0.2 * np.sin(places[0] / 2) * np.cos(places[1] / 2.5)
    image = np.where(away < 1, np.where(fluid, 0.1, image), 0).astype(np.float32)
    return image, np.where(fluid, 2, np.where(away < 1, 1, 0)).astype(np.uint16)


def _heads(num: int, *, seed: int) -> LabelledVolumes:
    """Return the head, deformed by up to four voxels."""
    image, labels = _head()
    images, maps = [], []
    for number in range(num):
        velocity = draw_velocity(
            SHAPE,
            spacing_mm=(3, 3, 3),
            max_displacement_mm=12,
            smoothness_mm=24,
            generator=np.random.default_rng(seed + number),
        )
        field = upsampled(integrate(velocity, SHAPE), SHAPE)
        images.append(deform_image(image, field))
        maps.append(deform_label_map(labels, field))
    names = tuple(f"k{number}" for number in range(num))
    return LabelledVolumes(names, np.stack(images), np.stack(maps), (3, 3, 3), "RAS", SCHEME)


def _dice(found: NDArray, labels: NDArray) -> float:
    both = np.sum((found == 2) & (labels == 2))
    return float(2 * both / (np.sum(found == 2) + np.sum(labels == 2)))


def test_label_maps_are_carried_over_and_vote() -> None:
    few, others = _heads(3, seed=0), _heads(2, seed=10)
    rule = Fusion().rule
    assert rule is not None
    found = rule.fitted(few)(others.images)
    assert found.dtype == np.uint8
    as_they_lie = np.mean([_dice(a, b) for a in few.labels for b in others.labels])
    voted = np.mean([_dice(a, b) for a, b in zip(found, others.labels, strict=True)])
    assert voted > 0.85 > as_they_lie + 0.1
    assert np.array_equal(rule.fitted(few)(others.images), found)  # the same again


def test_a_registration_that_fails_names_both_heads() -> None:
    image, labels = _head()
    head, label_map = Volume(image, np.eye(4)), Volume(labels, np.eye(4))
    with pytest.raises(DataError, match="registering case k0 to the other"):
        carried_over(
            label_map, Volume(0 * image, np.eye(4)), to=head, names=("case k0", "the other")
        )
