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
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.merge import BEGUN, rows_of_part
from vcmaug.cohort.row import ManifestRow
from vcmaug.compute import peak_memory
from vcmaug.compute.clock import Clock
from vcmaug.compute.devices import threads_of, torch_device
from vcmaug.errors import VcmaugError
from vcmaug.files import append_lines, sha256_of_file
from vcmaug.generate.loading import (
    LoadedPlan,
    LoadedRequest,
    UnreadableRequest,
    load_plan,
    load_request,
)
from vcmaug.generate.micro_batch import draw_requests
from vcmaug.generate.plan import (
    Plan,
    Request,
    micro_batches_of_shard,
    read_plan,
    requests_of_micro_batch,
)
from vcmaug.generate.writing import DrawnBatch, Shard, write_batch

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


@dataclass(frozen=True)
class _OpenBatch:
    """A micro-batch before it is drawn.

    Attributes:
        number: Which.
        num_requests: Of it.
        attempts: Which attempt it is, of the requests that are to be written.
        readable: Its requests with their conditions; none where nothing is to be written.
        unreadable: Requests whose conditions cannot be used; the others are drawn without them.
        clock: Knows how long reading took.
    """

    number: int
    num_requests: int
    attempts: Mapping[str, int]
    readable: list[LoadedRequest]
    unreadable: list[UnreadableRequest]
    clock: Clock


@lru_cache(maxsize=1)
def _loaded(plan: Plan, device: str) -> LoadedPlan:
    """Return a plan with its models, loaded once per process."""
    return load_plan(plan, device=device)


def draw_shard(task: ShardTask) -> ShardDone:
    """Draw what is missing of a shard; return what became of it.

    Raises:
        CohortError: Prior, control or conditions changed after the plan was made.
        WorkFolderError: The disk is full.
    """
    folder = Path(task.folder)
    plan = read_plan(folder)
    shard = Shard(plan, CohortLayout(folder), task.shard, torch_device(task.device))
    rows = rows_of_part(shard.layout.part(shard.number)).rows
    num_requests = num_drawn = num_redrawn = 0
    with (
        threads_of(plan.settings.threads_per_worker),
        ThreadPoolExecutor(1, "reader") as reader,
        ThreadPoolExecutor(1, "writer") as writer,
    ):
        writing: Future[None] | None = None
        micro_batches = micro_batches_of_shard(plan, task.shard)
        for batch in _ahead(reader, lambda number: _open(shard, number, rows), micro_batches):
            num_requests += batch.num_requests
            if not batch.attempts:
                continue
            if num_drawn == 0:
                append_lines(shard.layout.part(task.shard), [{"status": BEGUN}])
            drawn = _drawn(shard, batch)
            num_drawn += len(drawn.attempts)
            num_redrawn += drawn.num_redrawn
            if writing is not None:
                writing.result()
            writing = writer.submit(write_batch, drawn, shard)
        if writing is not None:
            writing.result()
    peak = peak_memory() // _MIB
    return ShardDone(num_requests, num_drawn, num_redrawn, _name_of_process(), peak)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[int], _OpenBatch], items: Iterable[int]
) -> Iterator[_OpenBatch]:
    """Yield what a function makes of each item, in order, and compute the next meanwhile."""
    futures: deque[Future[_OpenBatch]] = deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > 1:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _name_of_process() -> str:
    """Return which machine and process this is."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _open(shard: Shard, number: int, rows: Mapping[str, ManifestRow]) -> _OpenBatch:
    """Return a micro-batch with its conditions, or without attempts where all of it is there.

    Args:
        shard: Where.
        number: Of the micro-batch.
        rows: That the shard's part holds, by request.
    """
    requests = requests_of_micro_batch(shard.plan, number)
    attempts = {
        request.request_id: _attempts_of(rows.get(request.request_id)) + 1
        for request in requests
        if not _is_settled(rows.get(request.request_id), shard.layout.folder)
    }
    batch = _OpenBatch(number, len(requests), attempts, [], [], Clock(shard.device))
    if attempts:
        with batch.clock.phase("read", beside=True):
            loaded = _loaded(shard.plan, shard.device)
            for request in requests:
                _read(request, loaded, batch)
    return batch


def _read(request: Request, loaded: LoadedPlan, batch: _OpenBatch) -> None:
    """Add a request with its condition to a micro-batch, or the reason why it cannot be read."""
    try:
        batch.readable.append(load_request(request, loaded))
    except VcmaugError as fault:
        condition = loaded.conditions[request.condition]
        batch.unreadable.append(UnreadableRequest(request, condition, str(fault)))


def _drawn(shard: Shard, batch: _OpenBatch) -> DrawnBatch:
    """Return a micro-batch, drawn whole."""
    began, loaded = time.perf_counter(), _loaded(shard.plan, shard.device)
    readable = batch.readable
    draws = draw_requests(readable, loaded, clock=batch.clock) if readable else []
    return DrawnBatch(
        number=batch.number,
        num_requests=batch.num_requests,
        draws=draws,
        unreadable=batch.unreadable,
        attempts=batch.attempts,
        seconds=time.perf_counter() - began,
        clock=batch.clock,
    )


def _attempts_of(row: ManifestRow | None) -> int:
    """Return how often a request was drawn so far."""
    return 0 if row is None else row.run.attempt


def _is_settled(row: ManifestRow | None, folder: Path) -> bool:
    """Return whether nothing is left to do: rejected for good, or files with the row's hashes."""
    if row is None or row.status == "failed":
        return False
    files = row.case(folder).files if row.is_done else {}
    return all(
        path.exists() and sha256_of_file(path) == row.case(folder).sha256[name]
        for name, path in files.items()
    )
