"""What a worker does: load the model once, draw the micro-batches of a shard, write them.

What it is: `draw_shard`, which is sent to workers by name.
In the flow: between the plan and the manifest's parts.
Sources: none.

Notes:
    A micro-batch is always drawn whole, so that its bytes do not depend on what was there before;
    only what is missing or damaged is written. While one is drawn, a thread reads the conditions of
    the next and others compress and write the files of the last; rows follow their files.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.merge import BEGUN, REFUSED
from vcmaug.compute import peak_memory
from vcmaug.errors import VcmaugError
from vcmaug.files import append_lines, read_json_lines, sha256_of_file
from vcmaug.generate.draw import Asked, Clock, Model, load_model, read_asked
from vcmaug.generate.keep import Bench, Finished, keep
from vcmaug.generate.micro_batch import Try, draw_tries, unread
from vcmaug.generate.plan import (
    Plan,
    Request,
    micro_batches_of_shard,
    read_plan,
    requests_of_micro_batch,
)

__all__ = ["ShardDone", "ShardTask", "draw_shard", "threads_of", "torch_device"]

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
        num_refused: Draws that were refused now and drawn again.
        worker: Name of machine and process.
        peak_mib: Largest memory of that process so far.
    """

    num_requests: int
    num_drawn: int
    num_refused: int
    worker: str
    peak_mib: int


@dataclass(frozen=True)
class _Wanted:
    """A micro-batch before it is drawn.

    Attributes:
        micro_batch: Which.
        num_requests: Of it.
        attempts: Which attempt it is, of the requests that are to be written.
        asked: All its requests with their conditions; none where nothing is to be written.
        unread: Requests whose conditions cannot be used; the others are drawn without them.
        clock: Knows how long reading took.
    """

    micro_batch: int
    num_requests: int
    attempts: dict[str, int]
    asked: list[Asked]
    unread: list[Try]
    clock: Clock


@lru_cache(maxsize=1)
def _model(plan: Plan, device: str) -> Model:
    """Return the model of a plan, loaded once per process."""
    return load_model(plan, device=device)


def draw_shard(task: ShardTask) -> ShardDone:
    """Draw what is missing of a shard; return what became of it.

    Raises:
        CohortError: Prior, control or conditions changed after the plan was made.
        WorkFolderError: The disk is full.
    """
    folder = Path(task.folder)
    plan = read_plan(folder)
    bench = Bench(plan, CohortLayout(folder), task.shard, torch_device(task.device))
    there = _rows_there(bench)
    num_requests = num_drawn = num_refused = 0
    with (
        threads_of(plan.settings.threads_per_worker),
        ThreadPoolExecutor(1, "reader") as reader,
        ThreadPoolExecutor(1, "writer") as writer,
    ):
        writing: Future[None] | None = None
        micro_batches = micro_batches_of_shard(plan, task.shard)
        for wanted in _ahead(reader, lambda which: _read(bench, which, there), micro_batches):
            num_requests += wanted.num_requests
            if not wanted.attempts:
                continue
            if num_drawn == 0:
                append_lines(bench.layout.part(task.shard), [{"status": BEGUN}])
            finished = _drawn(bench, wanted)
            num_drawn += len(finished.attempts)
            num_refused += len(finished.tries) - wanted.num_requests
            if writing is not None:
                writing.result()
            writing = writer.submit(keep, finished, bench)
        if writing is not None:
            writing.result()
    peak = peak_memory() // _MIB
    return ShardDone(num_requests, num_drawn, num_refused, _name_of_process(), peak)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[int], _Wanted], items: Iterable[int]
) -> Iterator[_Wanted]:
    """Yield what a function makes of each item, in order, and compute the next meanwhile."""
    futures: deque[Future[_Wanted]] = deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > 1:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def torch_device(wanted: str) -> str:
    """Return the torch device for a wish."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


@contextmanager
def threads_of(num: int) -> Iterator[None]:
    """Compute with so many threads, and with the same convolutions every time, meanwhile."""
    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(num)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = deterministic


def _name_of_process() -> str:
    """Return which machine and process this is."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _rows_there(bench: Bench) -> dict[str, dict[str, Any]]:
    """Return the rows that a shard's part holds, by request; those that are settled or failed."""
    rows = read_json_lines(bench.layout.part(bench.shard))
    return {row["request_id"]: row for row in rows if row["status"] not in (BEGUN, REFUSED)}


def _read(bench: Bench, micro_batch: int, there: dict[str, dict[str, Any]]) -> _Wanted:
    """Return a micro-batch with its conditions, or without attempts where all of it is there.

    Args:
        bench: Where.
        micro_batch: Which.
        there: Rows that the shard's part holds, by request.
    """
    requests = requests_of_micro_batch(bench.plan, micro_batch)
    attempts = {
        request.request_id: int(there.get(request.request_id, {"attempt": 0})["attempt"]) + 1
        for request in requests
        if not _is_settled(there.get(request.request_id), bench.layout.folder)
    }
    wanted = _Wanted(micro_batch, len(requests), attempts, [], [], Clock(bench.device))
    if attempts:
        with wanted.clock.phase("read", beside=True):
            for request in requests:
                _read_one(bench, request, wanted)
    return wanted


def _read_one(bench: Bench, request: Request, wanted: _Wanted) -> None:
    """Add a request with its condition to what is wanted, or the reason why it cannot be read."""
    model = _model(bench.plan, bench.device)
    try:
        wanted.asked.append(read_asked(request, plan=bench.plan, model=model))
    except VcmaugError as fault:
        wanted.unread.append(unread(request, model.conditions[request.condition], str(fault)))


def _drawn(bench: Bench, wanted: _Wanted) -> Finished:
    """Return a micro-batch, drawn whole."""
    began, model = time.perf_counter(), _model(bench.plan, bench.device)
    tries = [*wanted.unread]
    if wanted.asked:
        tries += draw_tries(
            wanted.asked, plan=bench.plan, model=model, device=bench.device, clock=wanted.clock
        )
    seconds = time.perf_counter() - began
    return Finished(
        tries, wanted.attempts, wanted.micro_batch, wanted.num_requests, seconds, wanted.clock
    )


def _is_settled(row: dict[str, Any] | None, folder: Path) -> bool:
    """Return whether nothing is left to do: rejected for good, or files with the row's hashes."""
    if row is None or row["status"] == "failed":
        return False
    for kind in ("image", "label") if row["status"] == "done" else ():
        path = folder / row[kind]
        if not path.exists() or sha256_of_file(path) != row[f"{kind}_sha256"]:
            return False
    return True
