"""`real-again`: the labelled cases alone, trained once more with other batches; the noise row.

Its difference from `real` is what luck alone does. With one seed or two, nothing else in the table
of a study tells.
"""

from typing import ClassVar, Literal

from vcmaug.arms.base import Arm, Need

__all__ = ["RealAgain"]


class RealAgain(Arm):
    """The same cases and the same first weights as `real`; other batches, otherwise augmented."""

    name: Literal["real-again"] = "real-again"

    colour: ClassVar[str] = "#999999"
    marker: ClassVar[str] = "x"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = None
    has_other_batches: ClassVar[bool] = True
