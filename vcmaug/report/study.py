"""What a report knows of the arms and scores of a study, older ones included."""

from collections.abc import Mapping
from typing import Any

from vcmaug.arms.base import Arm
from vcmaug.downstream.tasks.base import Score
from vcmaug.downstream.tasks.segmentation import Segmentation

__all__ = ["headline_of_study", "is_ceiling", "is_floor", "scores_of"]


def scores_of(summary: Mapping[str, Any]) -> tuple[Score, ...]:
    """Return the scores of a study; a summary that names none is of a segmentation."""
    rows = summary.get("scores")
    return Segmentation.scores if rows is None else tuple(Score(**row) for row in rows)


def headline_of_study(summary: Mapping[str, Any]) -> Score:
    """Return the score that headlines and plots show."""
    return scores_of(summary)[0]


def is_ceiling(arm: str) -> bool:
    """Return whether an arm is known to train on every label."""
    known = Arm.of_result(arm)
    return known is not None and known.is_ceiling


def is_floor(arm: str) -> bool:
    """Return whether an arm is known to be the baseline without any help."""
    known = Arm.of_result(arm)
    return known is not None and known.is_baseline and known.folder is None
