"""`real+synthetic`: the labelled cases and the cohort drawn by their control."""

from typing import TYPE_CHECKING, ClassVar, Literal

from vcmaug.arms.base import Arm, Need
from vcmaug.cohort.cohort import Cohort

__all__ = ["Synthetic"]


class Synthetic(Arm):
    """Real labelled cases mixed with drawn ones."""

    name: Literal["real+synthetic"] = "real+synthetic"

    colour: ClassVar[str] = "#ee6677"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONTROL, Need.CONDITIONS, Need.COHORT})
    folder: ClassVar[str | None] = "cohort"

    if TYPE_CHECKING:  # what pydantic shows them has keywords alone

        def __init__(self, given: Cohort | None = None, /) -> None: ...
