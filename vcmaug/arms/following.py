"""Whether and how an image follows what was done to its label map; asked here alone."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.volume import Volume

__all__ = ["can_follow", "followed_classes", "followed_image"]

_SHOWING = {"modalities", "lowres"}  # builders that leave the map as it is


def can_follow(steps: str) -> bool:
    """Return whether a condition's steps, as JSON, can be done to an image too."""
    listed = json.loads(steps)
    if [step["builder"] for step in listed[:1]] != ["perturb"] or listed[0]["parameters"]["resize"]:
        return False
    return {step["builder"] for step in listed[1:]} <= _SHOWING


def followed_image(image: Volume, steps: str, label_map: Volume) -> NDArray[np.float32]:
    """Return an image deformed as its label map was; see `can_follow`.

    Args:
        image: Of the source.
        steps: Of the condition, as JSON.
        label_map: Of the condition.
    """
    from vcmaug.conditions.perturb import displacement_of, mirrored_if
    from vcmaug.data.deformation import warp_image

    parameters = json.loads(steps)[0]["parameters"]
    return warp_image(mirrored_if(image, parameters), displacement_of(parameters, label_map))


def followed_classes(classes: Volume, steps: str, label_map: Volume) -> NDArray[Any]:
    """Return numbers of classes, each voxel's nearest, deformed likewise."""
    from vcmaug.conditions.perturb import displacement_of, mirrored_if
    from vcmaug.data.deformation import warp_label_map

    parameters = json.loads(steps)[0]["parameters"]
    return warp_label_map(mirrored_if(classes, parameters), displacement_of(parameters, label_map))
