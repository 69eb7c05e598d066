"""`real+synthetic+pool`: a cohort whose control and conditions use the unlabelled set as well."""

from typing import ClassVar, Literal

from vcmaug.arms.base import Arm, Need

__all__ = ["SyntheticPool"]


class SyntheticPool(Arm):
    """Real labelled cases mixed with cases drawn for labels and pseudo-labels."""

    name: Literal["real+synthetic+pool"] = "real+synthetic+pool"

    colour: ClassVar[str] = "#aa3377"
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.TEACHER, Need.POOL, Need.CONTROL, Need.CONDITIONS, Need.COHORT}
    )
    folder: ClassVar[str | None] = "pool/cohort"
