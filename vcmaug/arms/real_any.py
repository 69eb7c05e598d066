"""`real-any`: as many labelled cases as `real`, drawn from all that have labels.

Where labelled subsets are drawn from candidates of one kind, such as young subjects, it says what
as many labels of every kind are worth.
"""

from typing import ClassVar, Literal

from vcmaug.arms.base import Arm, Need

__all__ = ["RealAny"]


class RealAny(Arm):
    """Real labelled cases of every kind."""

    name: Literal["real-any"] = "real-any"

    colour: ClassVar[str] = "#882255"
    marker: ClassVar[str] = "s"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = None
    is_of_all_labels: ClassVar[bool] = True
