"""What a worker does: load the models once, draw the micro-batches of a shard, write them.

`draw_shard` is sent to workers by name; it reads a plan and leaves a part of the manifest.

Notes:
    A micro-batch is always drawn whole, so that its bytes do not depend on what was there before;
    only what is missing or damaged is written. While one is drawn, a thread reads the conditions of
    the next and others compress and write the files of the last; rows follow their files.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.merge import BEGUN, REDRAWN, rows_of_part
from vcmaug.cohort.row import DONE, Drawn, ManifestRow, Run
from vcmaug.compute import peak_memory
from vcmaug.compute.devices import Clock, device_name, threads_of, torch_device
from vcmaug.conditions.conditions import StoredCondition
from vcmaug.data.nifti import write_image
from vcmaug.errors import VcmaugError
from vcmaug.files import append_lines, sha256_of_file, write_bytes
from vcmaug.generate.loading import Shard
from vcmaug.generate.micro_batch import Draw, MicroBatch, draw_requests
from vcmaug.generate.plan import Plan, Request
from vcmaug.provenance import versions

__all__ = ["ShardDone", "ShardTask", "draw_shard"]

_MIB = 2**20
_AT_ONCE = 4  # volumes; a GPU can draw them faster than one core compresses them


@dataclass(frozen=True)
class ShardTask:
    """One shard for one worker; small, since it travels.

    Attributes:
        folder: Of the cohort.
        shard: Which.
        device: A torch device, or "auto" for a GPU where there is one.
        requests: First and last request, for messages.
    """

    folder: str
    shard: int
    device: str
    requests: str = ""

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"shard {self.shard}" + (f" ({self.requests})" if self.requests else "")


@dataclass(frozen=True)
class ShardDone:
    """What became of a shard.

    Attributes:
        num_requests: Requests of it, all of which now have a row.
        num_drawn: Those that were drawn now.
        num_redrawn: Draws that were not accepted now and drawn again.
        worker: Name of machine and process.
        peak_mib: Largest memory of that process so far.
    """

    num_requests: int
    num_drawn: int
    num_redrawn: int
    worker: str
    peak_mib: int


def draw_shard(task: ShardTask) -> ShardDone:
    """Draw what is missing of a shard; return what became of it.

    Raises:
        CohortError: Prior, control or conditions changed after the plan was made.
        WorkFolderError: The disk is full.
    """
    folder = Path(task.folder)
    plan = Plan.read(folder)
    shard = Shard(plan, CohortLayout(folder), task.shard, torch_device(task.device))
    part = shard.layout.part(shard.number)
    rows = rows_of_part(part).rows
    num_requests = num_drawn = num_redrawn = 0
    with (
        threads_of(plan.settings.threads_per_worker),
        ThreadPoolExecutor(1, "reader") as reader,
        ThreadPoolExecutor(1, "writer") as writer,
    ):
        writing: Future[None] | None = None
        micro_batches = plan.micro_batches_of_shard(task.shard)
        for batch in _ahead(reader, lambda number: _open(shard, number, rows), micro_batches):
            num_requests += len(batch.requests)
            if not batch.attempts:
                continue
            if num_drawn == 0:
                append_lines(part, [{"status": BEGUN}])
            drawn = _drawn(shard, batch)
            num_drawn += len(drawn.attempts)
            num_redrawn += len(drawn.draws) - len(drawn.readable)
            if writing is not None:
                writing.result()
            writing = writer.submit(_write, drawn, shard)
        if writing is not None:
            writing.result()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return ShardDone(num_requests, num_drawn, num_redrawn, worker, peak_memory() // _MIB)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[int], MicroBatch], items: Iterable[int]
) -> Iterator[MicroBatch]:
    """Yield what a function makes of each item, in order, and compute the next meanwhile."""
    following: Future[MicroBatch] | None = None
    for item in items:
        current, following = following, pool.submit(function, item)
        if current is not None:
            yield current.result()
    if following is not None:
        yield following.result()


def _open(shard: Shard, number: int, rows: Mapping[str, ManifestRow]) -> MicroBatch:
    """Return a micro-batch with its conditions, or without attempts where all of it is there.

    Args:
        shard: Where.
        number: Of the micro-batch.
        rows: That the shard's part holds, by request.
    """
    requests = shard.plan.requests_of_micro_batch(number)
    attempts = {}
    for request in requests:
        row = rows.get(request.request_id)
        if row is None or not _is_settled(row, shard.layout.folder):
            attempts[request.request_id] = 1 if row is None else row.run.attempt + 1
    readable: dict[Request, StoredCondition] = {}
    unreadable: dict[Request, str] = {}
    clock = Clock(shard.device)
    if attempts:
        with clock.phase("read", beside=True):
            for request in requests:
                try:
                    readable[request] = shard.loaded.condition_of(request)
                except VcmaugError as fault:
                    unreadable[request] = str(fault)
    return MicroBatch(number, requests, attempts, clock, readable, unreadable)


def _drawn(shard: Shard, batch: MicroBatch) -> MicroBatch:
    """Return a micro-batch, drawn whole."""
    began = time.perf_counter()
    draws = draw_requests(batch.readable, shard.loaded, clock=batch.clock)
    return replace(batch, draws=draws, seconds=time.perf_counter() - began)


def _is_settled(row: ManifestRow, folder: Path) -> bool:
    """Return whether nothing is left to do: rejected for good, or files with the row's hashes."""
    if row.status == "failed":
        return False
    case = row.case(folder)
    return not row.is_done or all(
        path.exists() and sha256_of_file(path) == case.sha256[name]
        for name, path in case.files.items()
    )


def _write(batch: MicroBatch, shard: Shard) -> None:
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
            guidance=plan.settings.guidance,
            interval=plan.settings.interval,
            micro_batch=batch.number,
            prior_kind=plan.prior_kind,
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
