"""From a drawn micro-batch to files and rows of the manifest.

Label maps and images come first, then a row per draw; each is whole or not there.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.merge import REDRAWN
from vcmaug.cohort.row import DONE, Drawn, ManifestRow, Run
from vcmaug.compute.clock import Clock
from vcmaug.compute.devices import device_name
from vcmaug.conditions.table import ConditionRow
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.files import append_lines, write_bytes
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
        _failed(one.request, one.condition, batch, shard).changed(reason=one.reason)
        for one in batch.unreadable
        if one.request.request_id in batch.attempts
    ]
    rows += [_row(draw, its, batch, shard) for draw, its in zip(draws, files, strict=True)]
    append_lines(shard.layout.part(shard.number), [row.cells() for row in rows])


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
        return DONE
    if not last:
        return REDRAWN
    return "rejected" if draw.figures else "failed"


def _row(draw: Draw, files: _Files, batch: DrawnBatch, shard: Shard) -> ManifestRow:
    """Return the row of a draw."""
    return _failed(draw.loaded.request, draw.loaded.condition, batch, shard).changed(
        **asdict(files),
        reason=draw.reason,
        scalars=draw.loaded.scalars,
        tries=draw.attempt + 1,
        checks=draw.figures,
        drawn_together=draw.together,
    )


def _failed(
    request: Request, condition: ConditionRow, batch: DrawnBatch, shard: Shard
) -> ManifestRow:
    """Return the row of a request of which nothing was drawn."""
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
        source_case_ids=condition.source_case_ids,
        source_subject_ids=condition.source_subject_ids,
        builder=condition.builder,
        role=condition.role,
        parameters=condition.steps,
        seed=str(shard.plan.seed),
        drawn=_drawn(shard.plan, batch),
        run=_run(batch, shard, attempt=batch.attempts[request.request_id]),
    )


def _drawn(plan: Plan, batch: DrawnBatch) -> Drawn:
    """Return how the cases of a micro-batch are drawn."""
    return Drawn(
        prior_sha256=plan.prior_sha256,
        control_sha256=plan.control_sha256,
        sampler=plan.settings.sampler.name,
        timesteps=plan.timesteps,
        strength=plan.settings.strength,
        interval=plan.settings.interval,
        micro_batch=batch.number,
    )


def _run(batch: DrawnBatch, shard: Shard, *, attempt: int) -> Run:
    """Return by what run a case of a micro-batch was drawn; seconds are divided evenly."""
    seconds = batch.clock.seconds.items()
    return Run(
        shard=shard.number,
        device=device_name(shard.device),
        seconds=round(batch.seconds / batch.num_requests, 3),
        phases={name: round(spent / batch.num_requests, 4) for name, spent in seconds},
        attempt=attempt,
        versions=versions(),
    )
