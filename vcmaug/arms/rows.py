"""Cases that no sampler drew: image and label map into a cohort, and what its card says."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow
from vcmaug.data.cases import Case
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.files import sha256_of_bytes, write_bytes
from vcmaug.provenance import versions

__all__ = ["about_cohort", "write_row"]


def write_row(
    layout: CohortLayout,
    index: int,
    *,
    method: str,
    image: Volume,
    label_file: bytes,
    condition_id: str,
    parents: Sequence[Case],
    parameters: Any,
    seed: int,
    seconds: float,
) -> ManifestRow:
    """Write image and label map of one case and return its row.

    Args:
        layout: Of the cohort.
        index: Of the case.
        method: That made it; its first letter begins the ids.
        image: Values in [0, 1].
        label_file: The label map's file, byte by byte.
        condition_id: What was asked for.
        parents: The cases that went into it.
        parameters: What was drawn, JSON-like.
        seed: From which it was drawn.
        seconds: That it took.
    """
    request_id = f"{method[0]}{index:06d}"
    paths = layout.image(request_id), layout.label(request_id)
    write_bytes(paths[1], label_file)
    label_sha256 = sha256_of_bytes(label_file)
    return ManifestRow(
        request_id=request_id,
        index=index,
        status="done",
        reason="",
        case_id=f"synthetic-{request_id}",
        subject_id=f"synthetic-{condition_id}",
        image=str(paths[0].relative_to(layout.folder)),
        label=str(paths[1].relative_to(layout.folder)),
        label_sha256=label_sha256,
        image_sha256=write_image(paths[0], image),
        condition_id=condition_id,
        condition_sha256=label_sha256,
        source_case_ids=json.dumps([case.case_id for case in parents]),
        source_subject_ids=json.dumps(list(dict.fromkeys(case.subject_id for case in parents))),
        builder=method,
        parameters=json.dumps(parameters),
        seed=str(seed),
        sampler=method,
        micro_batch=index,
        seconds=round(seconds, 3),
        versions=json.dumps(versions()),
    )


def about_cohort(cases: Sequence[Case], **more: Any) -> Mapping[str, Any]:
    """Return what the card of such a cohort says of who was seen: no prior, no control."""
    subjects = sorted({case.subject_id for case in cases})
    return {
        "subjects": {"prior": [], "control": [], "conditions": subjects},
        "labelled_subjects": subjects,
        "control_pretrained_on": None,
        **more,
    }
