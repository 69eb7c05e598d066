"""`real+synthetic`: the labelled cases and the cohort drawn by their control."""

from typing import ClassVar, Literal

from vcmaug.arms.base import Arm, Need

__all__ = ["Synthetic"]


class Synthetic(Arm):
    """Real labelled cases mixed with drawn ones."""

    name: Literal["real+synthetic"] = "real+synthetic"

    colour: ClassVar[str] = "#ee6677"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONTROL, Need.CONDITIONS, Need.COHORT})
    folder: ClassVar[str | None] = "cohort"
