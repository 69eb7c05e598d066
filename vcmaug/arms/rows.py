"""Cases that no sampler drew: image and label map into a cohort, and what its card says."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vcmaug.arms.base import Sources
from vcmaug.cohort.card import SeenByCohort, seen_maps
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.plain import write_plain_cohort
from vcmaug.cohort.row import DONE, ManifestRow, Run
from vcmaug.conditions.table import ConditionRow
from vcmaug.data.cases import Case
from vcmaug.data.nifti import write_image
from vcmaug.data.seen import Seen
from vcmaug.data.steps import Step
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import locked, sha256_of_bytes, write_bytes
from vcmaug.progress import Progress, Report
from vcmaug.provenance import versions

__all__ = ["MadeCase", "parents_of", "seen_by_labels", "write_cases", "write_row"]


@dataclass(frozen=True)
class MadeCase:
    """A case as an arm made it; its fields are arguments of `write_row`."""

    method: str
    image: Volume
    label_file: bytes
    condition_id: str
    parents: Sequence[Case]
    parameters: Sequence[Step]
    seed: int
    role: str = ""
    letter: str = ""


def write_cases(
    make_case: Callable[[int], MadeCase],
    sources: Sources,
    *,
    n: int,
    doing: str,
    out: Path,
    report: Report,
    conditions: Path | None = None,
) -> None:
    """Write the cohort of an arm, case by case.

    Args:
        make_case: Returns the case of an index.
        sources: What cases are made from.
        n: How many.
        doing: Name for progress.
        out: The cohort's folder.
        report: Told after every case.
        conditions: Folder of the conditions that the cases are made for; None: of none.
    """
    layout, rows = CohortLayout(out), []
    with locked(out, purpose=doing):
        for index in range(n):
            began = time.perf_counter()
            case = make_case(index)
            seconds = time.perf_counter() - began
            rows.append(write_row(layout, index, seconds=seconds, **vars(case)))
            report(Progress(doing, index + 1, n))
        write_plain_cohort(
            layout,
            rows,
            scheme=sources.scheme,
            seen=seen_by_labels(sources.cases),
            conditions_folder=conditions,
        )


def write_row(
    layout: CohortLayout,
    index: int,
    *,
    method: str,
    image: Volume,
    label_file: bytes,
    condition_id: str,
    parents: Sequence[Case],
    parameters: Sequence[Step] = (),
    seed: int | None = None,
    seconds: float | None = None,
    role: str = "",
    letter: str = "",
) -> ManifestRow:
    """Write image and label map of one case and return its row.

    Args:
        layout: Of the cohort.
        index: Of the case.
        method: That made it.
        image: Values in [0, 1].
        label_file: The label map's file, byte by byte.
        condition_id: What was asked for.
        parents: The cases that went into it.
        parameters: What was done.
        seed: From which it was drawn; None: nothing was.
        seconds: That it took; None: the run is not recorded.
        role: Of all its parents, if it is known.
        letter: That begins the ids; empty: the first of the method.
    """
    request_id = f"{letter or method[0]}{index:06d}"
    paths = layout.image(request_id), layout.label(request_id)
    write_bytes(paths[1], label_file)
    label_sha256 = sha256_of_bytes(label_file)
    return ManifestRow(
        request_id=request_id,
        index=index,
        status=DONE,
        reason="",
        case_id=f"synthetic-{request_id}",
        subject_id=f"synthetic-{condition_id}",
        image=str(paths[0].relative_to(layout.folder)),
        label=str(paths[1].relative_to(layout.folder)),
        label_sha256=label_sha256,
        image_sha256=write_image(paths[0], image),
        condition_id=condition_id,
        condition_sha256=label_sha256,
        source_case_ids=tuple(case.case_id for case in parents),
        source_subject_ids=tuple(dict.fromkeys(case.subject_id for case in parents)),
        builder=method,
        role=role,
        parameters=tuple(parameters),
        seed="" if seed is None else str(seed),
        run=Run() if seconds is None else Run(seconds=round(seconds, 3), versions=versions()),
    )


def seen_by_labels(cases: Sequence[Case]) -> SeenByCohort:
    """Return who was seen by a cohort made of labelled cases: no prior, no control."""
    labels = seen_maps(case.subject_id for case in cases)
    return SeenByCohort(prior=Seen(), control=labels, conditions=labels)


def parents_of(asked: ConditionRow, cases: Sequence[Case]) -> list[Case]:
    """Return the labelled cases that a condition was built from, its source first.

    Raises:
        CohortError: Its source is not among the cases.
    """
    by_id = {case.case_id: case for case in cases}
    if not asked.source_case_ids or asked.source_case_ids[0] not in by_id:
        raise CohortError(
            f"making an image for condition {asked.condition_id}: its source is not among the "
            f"{len(cases)} labelled cases. Build the conditions from these."
        )
    return [by_id[name] for name in asked.source_case_ids if name in by_id]
