"""From a drawn micro-batch to files and rows of the manifest.

Label maps and images come first, then a row per draw; each is whole or not there.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow
from vcmaug.cohort.merge import REDRAWN
from vcmaug.compute.clock import Clock
from vcmaug.compute.devices import device_name
from vcmaug.conditions.table import ConditionRow
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.files import append_lines, stable_json, write_bytes
from vcmaug.generate.loading import UnreadableRequest
from vcmaug.generate.micro_batch import Draw
from vcmaug.generate.plan import Plan, Request
from vcmaug.provenance import versions

__all__ = ["DrawnBatch", "Shard", "write_batch"]

_AT_ONCE = 4  # volumes; a GPU can draw them faster than one core compresses them


@dataclass(frozen=True)
class Shard:
    """A shard that a worker has in hand."""

    plan: Plan
    layout: CohortLayout
    number: int
    device: str


@dataclass(frozen=True)
class DrawnBatch:
    """A micro-batch in memory, on its way to the disk.

    Attributes:
        number: Which.
        num_requests: Of it.
        draws: All draws of all requests that could be read.
        unreadable: The others.
        attempts: Which attempt it is, of the requests that are to be written.
        seconds: Spent on drawing it.
        clock: Knows where they went, and is told how long writing takes.
    """

    number: int
    num_requests: int
    draws: Sequence[Draw]
    unreadable: Sequence[UnreadableRequest]
    attempts: Mapping[str, int]
    seconds: float
    clock: Clock

    @property
    def num_redrawn(self) -> int:
        """Draws that were not accepted and drawn again."""
        return len(self.draws) + len(self.unreadable) - self.num_requests


def write_batch(batch: DrawnBatch, shard: Shard) -> None:
    """Write what is missing of a micro-batch, files first, then rows."""
    last = {draw.request_id: draw for draw in batch.draws}
    draws = [draw for draw in batch.draws if draw.request_id in batch.attempts]

    def written(draw: Draw) -> _Files:
        return _written(draw, shard, last=draw is last[draw.request_id])

    with batch.clock.phase("write", beside=True), ThreadPoolExecutor(_AT_ONCE) as pool:
        files = list(pool.map(written, draws))
    rows = [
        replace(_failed(one.request, one.condition, batch, shard), reason=one.reason)
        for one in batch.unreadable
        if one.request.request_id in batch.attempts
    ]
    rows += [_row(draw, its, batch, shard) for draw, its in zip(draws, files, strict=True)]
    append_lines(shard.layout.part(shard.number), [row.to_json() for row in rows])


@dataclass(frozen=True)
class _Files:
    """What became of a draw on the disk, as columns of the manifest."""

    status: str
    image: str = ""
    image_sha256: str = ""
    label: str = ""
    label_sha256: str = ""


def _written(draw: Draw, shard: Shard, *, last: bool) -> _Files:
    """Write the files of a draw that is kept.

    Args:
        draw: The draw.
        shard: Where.
        last: Whether it is the one that counts of its request.
    """
    layout, status = shard.layout, _status(draw, last=last)
    if not draw.reason:
        image, label = layout.image(draw.request_id), layout.label(draw.request_id)
        write_bytes(label, draw.loaded.label_file)
        return _Files(
            status=status,
            image=str(image.relative_to(layout.folder)),
            image_sha256=write_image(image, _image_of(draw)),
            label=str(label.relative_to(layout.folder)),
            label_sha256=draw.loaded.condition.sha256,
        )
    if shard.plan.settings.acceptance.keep_rejects and draw.figures:  # else it is broken
        image = layout.reject(draw.request_id, draw.attempt + 1)
        name = str(image.relative_to(layout.folder))
        return _Files(status, name, write_image(image, _image_of(draw)))
    return _Files(status)


def _image_of(draw: Draw) -> Volume:
    """Return the image of a draw on the grid of its map."""
    return Volume(draw.image, draw.loaded.label_map.affine)


def _status(draw: Draw, *, last: bool) -> str:
    """Return the status of a draw: failed if nobody can use the image, or why it does not count."""
    if not draw.reason:
        return "done"
    if not last:
        return REDRAWN
    return "rejected" if draw.figures else "failed"


def _row(draw: Draw, files: _Files, batch: DrawnBatch, shard: Shard) -> ManifestRow:
    """Return the row of a draw."""
    return replace(
        _failed(draw.loaded.request, draw.loaded.condition, batch, shard),
        status=files.status,
        reason=draw.reason,
        image=files.image,
        label=files.label,
        image_sha256=files.image_sha256,
        label_sha256=files.label_sha256,
        scalars=stable_json(draw.loaded.scalars),
        tries=draw.attempt + 1,
        checks=stable_json(draw.figures),
        drawn_together=draw.together,
    )


def _failed(
    request: Request, condition: ConditionRow, batch: DrawnBatch, shard: Shard
) -> ManifestRow:
    """Return the row of a request of which nothing was drawn."""
    plan = shard.plan
    share = {name: round(s / batch.num_requests, 4) for name, s in batch.clock.seconds.items()}
    return ManifestRow(
        request_id=request.request_id,
        index=request.index,
        status="failed",
        reason="",
        case_id=f"synthetic-{request.request_id}",
        subject_id=f"synthetic-{condition.condition_id}",
        image="",
        label="",
        image_sha256="",
        label_sha256="",
        condition_id=condition.condition_id,
        condition_sha256=condition.sha256,
        source_case_ids=json.dumps(condition.source_case_ids),
        source_subject_ids=json.dumps(condition.source_subject_ids),
        builder=condition.builder,
        fold=condition.role,
        parameters=condition.steps_json,
        seed=str(plan.seed),
        scalars=stable_json({}),
        sampler=plan.settings.sampler.name,
        timesteps=stable_json(plan.timesteps),
        strength=plan.settings.strength,
        interval=stable_json(plan.settings.interval),
        prior_sha256=plan.prior_sha256,
        control_sha256=plan.control_sha256,
        tries=1,
        checks=stable_json({}),
        micro_batch=batch.number,
        shard=shard.number,
        device=device_name(shard.device),
        seconds=round(batch.seconds / batch.num_requests, 3),
        phases=stable_json(share),
        drawn_together=0,
        attempt=batch.attempts[request.request_id],
        versions=stable_json(versions()),
    )
