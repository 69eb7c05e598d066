"""`all-real`: every label, once per seed; the ceiling of the label gap."""

from typing import ClassVar, Literal

from vcmaug.arms.base import Arm, Need

__all__ = ["AllReal"]


class AllReal(Arm):
    """All labelled training subjects, whatever n."""

    name: Literal["all-real"] = "all-real"

    colour: ClassVar[str] = "#000000"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = None
    is_ceiling: ClassVar[bool] = True
