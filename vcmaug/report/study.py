"""What a report knows of the arms of a study, older ones included."""

from vcmaug.arms.base import Arm

__all__ = ["is_ceiling", "is_floor"]


def is_ceiling(arm: str) -> bool:
    """Return whether an arm is known to train on every label."""
    known = Arm.of_result(arm)
    return known is not None and known.is_ceiling


def is_floor(arm: str) -> bool:
    """Return whether an arm is known to be the baseline without any help."""
    known = Arm.of_result(arm)
    return known is not None and known.is_baseline and known.folder is None
