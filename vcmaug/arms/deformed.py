"""`real+deformed`: real images deformed as the label maps of the conditions were, with no drawing.

What a drawn cohort brings beyond deformation shows against it.

References:
    Simard et al., "Best practices for convolutional neural networks", 2003, ICDAR (elastic
    augmentation).
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import MadeCase, parents_of, write_cases
from vcmaug.conditions.builder import images_followed
from vcmaug.conditions.conditions import Conditions
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.conditions.workshop import map_bytes, workshop_in
from vcmaug.errors import CohortError
from vcmaug.progress import Report, silent

__all__ = ["Deformed"]


class Deformed(Arm):
    """Real labelled cases mixed with deformed ones."""

    name: Literal["real+deformed"] = "real+deformed"

    formerly: ClassVar[tuple[str, ...]] = ("real+warped",)
    colour: ClassVar[str] = "#228833"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONDITIONS})
    folder: ClassVar[str | None] = "deformed"

    if TYPE_CHECKING:  # what pydantic shows them has keywords alone

        def __init__(self, given: Conditions | None = None, /) -> None: ...

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        """Write a case per condition that an image can follow, at most as many as are drawn.

        Raises:
            CohortError: An image can follow no condition, or the source of one is not among the
                cases.
        """
        table = read_conditions(sources.conditions)
        asked = [row for row in table if images_followed(row.steps)]
        if not asked:
            raise CohortError(
                f"deforming images for {sources.conditions}: an image can follow none of its "
                f"{len(table)} conditions. Build some that it can (perturb without resize), or "
                "leave the arm out."
            )
        write_cases(
            lambda index: _deformed(asked[index], sources),
            sources,
            n=min(sources.n, len(asked)),
            doing="deforming",
            out=out,
            report=report,
            conditions=sources.conditions,
        )


def _deformed(asked: ConditionRow, sources: Sources) -> MadeCase:
    """Return the image of a condition's source, deformed as its label map was."""
    parents = parents_of(asked, sources.cases)[:1]
    return MadeCase(
        method="deform",
        image=workshop_in(sources.conditions).follow(asked),
        label_file=map_bytes(sources.conditions, asked),
        condition_id=asked.condition_id,
        parents=parents,
        parameters=asked.steps,
        role=asked.role,
        seed=asked.seed,
        letter="w",  # of the ids since the first edition; augmentation is drawn by them
    )
