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
from vcmaug.cohort.merge import BEGUN, rows_of_part
from vcmaug.cohort.row import ManifestRow
from vcmaug.compute import peak_memory
from vcmaug.compute.devices import Clock, threads_of, torch_device
from vcmaug.conditions.conditions import StoredCondition
from vcmaug.errors import VcmaugError
from vcmaug.files import append_lines, sha256_of_file
from vcmaug.generate.loading import Shard
from vcmaug.generate.micro_batch import MicroBatch, draw_requests
from vcmaug.generate.plan import Plan, Request
from vcmaug.generate.writing import write_batch

__all__ = ["ShardDone", "ShardTask", "draw_shard"]

_MIB = 2**20


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
            writing = writer.submit(write_batch, drawn, shard)
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
