"""`real+deformed`: real images deformed as the label maps of the conditions were, with no drawing.

What a drawn cohort brings beyond deformation shows against it.

References:
    Simard et al., "Best practices for convolutional neural networks", 2003, ICDAR (elastic
    augmentation).
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import parents_of, seen_by_labels, write_row
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.plain import write_plain_cohort
from vcmaug.cohort.row import ManifestRow
from vcmaug.conditions.builder import images_fit
from vcmaug.conditions.images import followed, moves_of
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import label_map_in, read_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import locked
from vcmaug.progress import Progress, Report, silent

__all__ = ["Deformed", "deformed_cohort"]


class Deformed(Arm):
    """Real labelled cases mixed with deformed ones."""

    name: Literal["real+deformed"] = "real+deformed"

    formerly: ClassVar[tuple[str, ...]] = ("real+warped",)
    colour: ClassVar[str] = "#228833"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONDITIONS})
    folder: ClassVar[str | None] = "deformed"

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        """Write a case per condition that an image can follow, at most as many as are drawn."""
        deformed_cohort(
            sources.conditions,
            sources.cases,
            scheme=sources.scheme,
            n=min(sources.n, len(_followable(sources.conditions))),
            out=out,
            report=report,
        )


def deformed_cohort(
    conditions: Path,
    cases: Sequence[Case],
    *,
    scheme: LabelScheme,
    n: int,
    out: Path,
    report: Report = silent,
) -> pd.DataFrame:
    """Write a cohort of deformed cases and return its manifest.

    Args:
        conditions: Folder of conditions; used are those whose steps an image can follow.
        cases: The labelled cases that they were built from.
        scheme: Of the label maps.
        n: How many; a condition gives one image only, so at most as many as there are.
        out: The cohort's folder.
        report: Told after every case.

    Raises:
        CohortError: There are fewer conditions that an image can follow than asked for, or the
            source of one is not among the cases.
    """
    table = _followable(conditions)
    if not 1 <= n <= len(table):
        raise CohortError(
            f"deforming {n} cases of {conditions}: it holds {len(table)} conditions that an image "
            f"can follow (perturb without resize), but {n} were requested. Build more, deform "
            "fewer, or leave the arm out."
        )
    layout = CohortLayout(out)
    with locked(out, purpose="deforming"):
        rows = []
        for index, asked in enumerate(table[:n]):
            source = parents_of(asked, cases)[0]
            rows.append(_deformed(index, asked, source, conditions, layout=layout))
            report(Progress("deforming", index + 1, n))
        return write_plain_cohort(
            layout,
            rows,
            scheme=scheme,
            seen=seen_by_labels(cases),
            conditions_folder=conditions,
        )


def _followable(conditions: Path) -> list[ConditionRow]:
    """Return the conditions whose steps an image can follow."""
    return [row for row in read_conditions(conditions) if images_fit(moves_of(row.steps))]


def _deformed(
    index: int,
    asked: ConditionRow,
    source: Case,
    conditions: Path,
    *,
    layout: CohortLayout,
) -> ManifestRow:
    """Write image and label map of one condition and return its row."""
    from vcmaug.conditions.replay import map_bytes

    began = time.perf_counter()
    label_file = map_bytes(conditions, asked)
    label_map = label_map_in(label_file)
    image = read_image(source.image, case_id=source.case_id)
    return write_row(
        layout,
        index,
        method="warp",
        image=followed(Volume(image.array, label_map.affine), asked.steps),
        label_file=label_file,
        condition_id=asked.condition_id,
        parents=(source,),
        parameters=asked.steps,
        role=asked.role,
        seed=asked.seed,
        seconds=time.perf_counter() - began,
    )
