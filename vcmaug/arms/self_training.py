"""`self-training`: the images of the unlabelled set with what a network of the n cases reads there.

The same pseudo-labels serve `real+synthetic+pool` as conditions and as training pairs.

References:
    Lee, "Pseudo-label", 2013, ICML workshop.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.arms.base import Arm, Need
from vcmaug.arms.rows import write_row
from vcmaug.cohort.card import SeenByCohort, seen_maps
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.plain import write_plain_cohort
from vcmaug.cohort.row import DONE, ManifestRow
from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.nifti import label_map_bytes, read_image
from vcmaug.data.seen import Seen
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import locked
from vcmaug.progress import Progress, Report, silent

__all__ = ["SelfTraining", "pseudo_cases", "pseudo_label"]

Read = Callable[[NDArray[np.float32]], NDArray[np.uint16]]
"""A segmenter as a plain function: images [N, X, Y, Z] in [0, 1] -> label maps [N, X, Y, Z]."""


class SelfTraining(Arm):
    """Real labelled cases mixed with pseudo-labelled ones; no generator at all."""

    name: Literal["self-training"] = "self-training"

    colour: ClassVar[str] = "#ccbb44"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER, Need.POOL})
    folder: ClassVar[str | None] = "pseudo"
    is_baseline: ClassVar[bool] = True


def pseudo_label(
    unlabelled: Sequence[Case],
    teacher: Read,
    *,
    teacher_subjects: Sequence[str],
    scheme: LabelScheme,
    out: Path,
    report: Report = silent,
) -> pd.DataFrame:
    """Write the unlabelled set with pseudo-labels as a cohort and return its manifest.

    A case in which the teacher misses a structure altogether is a failed row.

    Args:
        unlabelled: Training cases whose labels are not looked at.
        teacher: Trained on the n labelled cases alone.
        teacher_subjects: Those n.
        scheme: Of the label maps.
        out: The cohort's folder.
        report: Told after every case.

    Raises:
        DataError: There is no case in it, or the teacher missed a structure in every one.
    """
    if not unlabelled:
        raise DataError(
            "pseudo-labelling: every training case is labelled, so there is no unlabelled set."
        )
    layout = CohortLayout(out)
    with locked(out, purpose="pseudo-labelling"):
        rows = []
        for index, case in enumerate(unlabelled):
            rows.append(_row(index, case, teacher, scheme=scheme, layout=layout))
            report(Progress("pseudo-labelling", index + 1, len(unlabelled)))
        if not any(row.is_done for row in rows):
            raise DataError(
                f"pseudo-labelling {len(unlabelled)} cases: the teacher misses a structure in "
                "every one. Train it longer or on more labelled cases."
            )
        subjects = {case.subject_id for case in unlabelled}
        taught = seen_maps(subjects, pseudo=subjects, teachers=teacher_subjects)
        seen = SeenByCohort(prior=Seen(), control=taught, conditions=Seen())
        return write_plain_cohort(layout, rows, scheme=scheme, seen=seen)


def _row(
    index: int, case: Case, teacher: Read, *, scheme: LabelScheme, layout: CohortLayout
) -> ManifestRow:
    """Write image and pseudo-label of one case; return its row."""
    image = read_image(case.image, case_id=case.case_id)
    label_map = Volume(teacher(image.array[None])[0], image.affine)
    volumes = volumes_mm3(label_map.array, scheme, label_map.spacing_mm)
    absent = [name for name, volume in volumes.items() if volume == 0]
    name = f"pseudo-{case.case_id}"
    row = write_row(
        layout,
        index,
        method="pseudo-label",
        image=image,
        label_file=label_map_bytes(label_map),
        condition_id=name,
        parents=(case,),
    )
    return replace(
        row,
        case_id=name,
        subject_id=case.subject_id,
        status="failed" if absent else DONE,
        reason=f"the teacher finds no {', '.join(absent)}" if absent else "",
    )


def pseudo_cases(folder: Path, unlabelled: Sequence[Case]) -> tuple[Case, ...]:
    """Return the finished cases of a pseudo-labelled set, with what the table says of them.

    What was measured on their true label maps is left out.

    Args:
        folder: What `pseudo_label` wrote.
        unlabelled: The cases that it was given.
    """
    cohort = Cohort.open(folder)
    parents = {case.case_id: case for case in unlabelled}
    found = [(parents[cohort.row_of(made).source_case_ids[0]], made) for made in cohort]
    return tuple(
        replace(made, source=own.source, subject_id=own.subject_id, way_back=own.way_back)
        for own, made in found
    )
