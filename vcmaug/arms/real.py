"""`real`: the labelled cases alone, which every other arm is held against."""

from typing import ClassVar, Literal

from vcmaug.arms.base import Arm, Need

__all__ = ["Real"]


class Real(Arm):
    """The real labelled cases and nothing else."""

    name: Literal["real"] = "real"

    colour: ClassVar[str] = "#4477aa"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = None
    is_baseline: ClassVar[bool] = True
    is_teacher: ClassVar[bool] = True
