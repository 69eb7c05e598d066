"""From a drawn micro-batch to files and rows of the manifest.

Label maps and images come first, then a row per draw; each is whole or not there.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from vcmaug.cohort.merge import REDRAWN
from vcmaug.cohort.row import DONE, Drawn, ManifestRow, Run
from vcmaug.compute.devices import device_name
from vcmaug.data.nifti import write_image
from vcmaug.files import append_lines, write_bytes
from vcmaug.generate.loading import Shard
from vcmaug.generate.micro_batch import Draw, MicroBatch
from vcmaug.generate.plan import Request
from vcmaug.provenance import versions

__all__ = ["write_batch"]

_AT_ONCE = 4  # volumes; a GPU can draw them faster than one core compresses them


def write_batch(batch: MicroBatch, shard: Shard) -> None:
    """Write what is missing of a drawn micro-batch, files first, then rows."""
    last = {draw.request: draw for draw in batch.draws}
    draws = [draw for draw in batch.draws if draw.request.request_id in batch.attempts]
    rows = [
        _row(request, batch, shard, reason=reason)
        for request, reason in batch.unreadable.items()
        if request.request_id in batch.attempts
    ]

    def written(draw: Draw) -> ManifestRow:
        return _written(draw, batch, shard, is_last=draw is last[draw.request])

    with batch.clock.phase("write", beside=True), ThreadPoolExecutor(_AT_ONCE) as pool:
        rows += list(pool.map(written, draws))
    run = _run_of(batch, shard)
    append_lines(
        shard.layout.part(shard.number),
        [
            replace(row, run=replace(run, attempt=batch.attempts[row.request_id])).cells()
            for row in rows
        ],
    )


def _written(draw: Draw, batch: MicroBatch, shard: Shard, *, is_last: bool) -> ManifestRow:
    """Write the files of a draw that is kept, and return its row without the run.

    Args:
        draw: The draw.
        batch: Whose it is.
        shard: Where.
        is_last: Whether it is the one that counts of its request.
    """
    layout, request_id = shard.layout, draw.request.request_id
    row = _row(draw.request, batch, shard, reason=draw.reason).changed(
        status=_status(draw, is_last=is_last),
        scalars=draw.condition.values_of(shard.loaded.drawer.prior.spec.scalars),
        tries=draw.attempt + 1,
        checks=draw.figures,
        drawn_together=draw.together,
    )
    if not draw.reason:
        image, label = layout.image(request_id), layout.label(request_id)
        write_bytes(label, draw.condition.label_file)
        row = row.changed(
            label=str(label.relative_to(layout.folder)), label_sha256=draw.condition.row.sha256
        )
    elif shard.plan.settings.acceptance.keep_rejects and draw.figures:  # else it is broken
        image = layout.reject(request_id, draw.attempt + 1)
    else:
        return row
    return row.changed(
        image=str(image.relative_to(layout.folder)), image_sha256=write_image(image, draw.image)
    )


def _status(draw: Draw, *, is_last: bool) -> str:
    """Return the status of a draw: failed if nobody can use the image, or why it does not count."""
    if not draw.reason:
        return DONE
    if not is_last:
        return REDRAWN
    return "rejected" if draw.figures else "failed"


def _row(request: Request, batch: MicroBatch, shard: Shard, *, reason: str) -> ManifestRow:
    """Return the row of a request of which nothing was drawn, without its run."""
    plan, condition = shard.plan, shard.loaded.conditions.rows[request.condition]
    return ManifestRow(
        request_id=request.request_id,
        index=request.index,
        status="failed",
        reason=reason,
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
        seed=str(plan.seed),
        drawn=Drawn(
            prior_sha256=plan.prior_sha256,
            control_sha256=plan.control_sha256,
            sampler=plan.settings.sampler.name,
            timesteps=plan.timesteps,
            strength=plan.settings.strength,
            interval=plan.settings.interval,
            micro_batch=batch.number,
        ),
    )


def _run_of(batch: MicroBatch, shard: Shard) -> Run:
    """Return by what run the cases of a micro-batch were drawn; seconds are divided evenly."""
    count = len(batch.requests)
    return Run(
        shard=shard.number,
        device=device_name(shard.device),
        seconds=round(batch.seconds / count, 3),
        phases={name: round(spent / count, 4) for name, spent in batch.clock.seconds.items()},
        versions=versions(),
    )
