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
from vcmaug.cohort.card import SeenByCohort, seen_maps
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.plain import write_plain_cohort
from vcmaug.cohort.row import DONE, ManifestRow
from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.nifti import read_image, write_image, write_label_map
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
    pool: Sequence[Case],
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
        pool: Training cases whose labels are not looked at.
        teacher: Trained on the n labelled cases alone.
        teacher_subjects: Those n.
        scheme: Of the label maps.
        out: The cohort's folder.
        report: Told after every case.

    Raises:
        DataError: There is no case in it, or the teacher missed a structure in every one.
    """
    if not pool:
        raise DataError(
            "pseudo-labelling: every training case is labelled, so there is no unlabelled set."
        )
    layout = CohortLayout(out)
    with locked(out, purpose="pseudo-labelling"):
        rows = []
        for index, case in enumerate(pool):
            rows.append(_row(index, case, teacher, scheme=scheme, layout=layout))
            report(Progress("pseudo-labelling", index + 1, len(pool)))
        if not any(row.is_done for row in rows):
            raise DataError(
                f"pseudo-labelling {len(pool)} cases: the teacher misses a structure in every one. "
                "Train it longer or on more labelled cases."
            )
        subjects = {case.subject_id for case in pool}
        taught = seen_maps(subjects, pseudo=subjects, teachers=teacher_subjects)
        seen = SeenByCohort(prior=Seen(), control=taught, conditions=Seen())
        return write_plain_cohort(layout, rows, scheme=scheme, seen=seen)


def _row(
    index: int, case: Case, teacher: Read, *, scheme: LabelScheme, layout: CohortLayout
) -> ManifestRow:
    """Write image and pseudo-label of one case; return its row."""
    request_id = f"p{index:06d}"
    image = read_image(case.image, case_id=case.case_id)
    label_map = Volume(teacher(image.array[None])[0], image.affine)
    volumes = volumes_mm3(label_map.array, scheme, label_map.spacing_mm)
    absent = [name for name, volume in volumes.items() if volume == 0]
    paths = layout.image(request_id), layout.label(request_id)
    label_sha256 = write_label_map(paths[1], label_map)
    return ManifestRow(
        request_id=request_id,
        index=index,
        status="failed" if absent else DONE,
        reason=f"the teacher finds no {', '.join(absent)}" if absent else "",
        case_id=f"pseudo-{case.case_id}",
        subject_id=case.subject_id,
        image=str(paths[0].relative_to(layout.folder)),
        label=str(paths[1].relative_to(layout.folder)),
        image_sha256=write_image(paths[0], image),
        label_sha256=label_sha256,
        condition_id=f"pseudo-{case.case_id}",
        condition_sha256=label_sha256,
        source_case_ids=(case.case_id,),
        source_subject_ids=(case.subject_id,),
        builder="pseudo-label",
    )


def pseudo_cases(folder: Path, pool: Sequence[Case]) -> tuple[Case, ...]:
    """Return the finished cases of a pseudo-labelled set, with what the table says of them.

    What was measured on their true label maps is left out.

    Args:
        folder: What `pseudo_label` wrote.
        pool: The cases that it was given.
    """
    cohort = Cohort.open(folder)
    parents = {case.case_id: case for case in pool}
    return tuple(
        _pseudo_case(parents[cohort.row_of(made).source_case_ids[0]], made) for made in cohort
    )


def _pseudo_case(parent: Case, made: Case) -> Case:
    """Return one case of the pool with its pseudo-label and its copy of the image."""
    return replace(
        made, source=parent.source, subject_id=parent.subject_id, way_back=parent.way_back
    )
