"""Where work runs: in process, local worker processes, one per GPU, or a Dask cluster.

What it is: one record that says where, and `run_all`, which runs a function over items there.
In the flow: generation and condition building hand their shards to it.
Sources: Dask distributed (Rocklin 2015, SciPy proceedings).

Notes:
    Only small arguments and results travel; models are loaded by the workers from disk. Where a
    shard runs never changes what it draws.
"""

import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import dask
from distributed import Client, KilledWorker, Nanny, Scheduler, SpecCluster, as_completed
from distributed.scheduler import NoWorkerError

from vcmaug.errors import ComputeError, VcmaugError, list_faults

__all__ = ["Compute", "resolve_compute", "run_all"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_Fault = tuple[str, str]  # an item in words, and what went wrong with it

_START_SECONDS = 120
_RESTART_SECONDS = 60  # after which local items whose workers are all gone are given up
_NO_WORKER = "no worker process is left, and no new one could be started"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Compute:
    """Where work runs.

    Attributes:
        kind: In this process, in local worker processes, one process per GPU, or on a cluster.
        num: Worker processes or GPUs; 1 in process; 0 on a cluster, which has its own number.
        address: Of the Dask scheduler, for `kind="scheduler"`.
    """

    kind: Literal["in-process", "workers", "gpus", "scheduler"]
    num: int = 1
    address: str = ""

    @property
    def device(self) -> str:
        """The torch device on which a worker computes; "auto" on a cluster: its GPU if any."""
        return {"gpus": "cuda", "scheduler": "auto"}.get(self.kind, "cpu")

    def __str__(self) -> str:
        """Return a phrase for people."""
        if self.kind == "in-process":
            return "in this process"
        if self.kind == "scheduler":
            return f"on the Dask cluster at {self.address}"
        process = "worker process" if self.num == 1 else "worker processes"
        return f"in {self.num} local {'GPU ' if self.kind == 'gpus' else ''}{process}"


@dataclass(frozen=True)
class _Outcome:
    """What became of one item: a result, or the words of an error that a user can mend."""

    result: Any
    fault: str = ""


def resolve_compute(
    *, gpus: int | None = None, workers: int | None = None, scheduler: str | None = None
) -> Compute:
    """Return where work shall run; without any wish, in this process.

    Args:
        gpus: One worker process per GPU.
        workers: CPU worker processes; 0 is this process.
        scheduler: Address of a Dask scheduler that runs already.

    Raises:
        ComputeError: Two wishes at once, a negative number, or more GPUs than there are.
    """
    wishes = [
        name for name, v in (("gpus", gpus), ("workers", workers), ("scheduler", scheduler)) if v
    ]
    if len(wishes) > 1:
        raise ComputeError(f"choosing where to run: --{' and --'.join(wishes)} exclude each other.")
    if min(gpus or 0, workers or 0) < 0:
        raise ComputeError("choosing where to run: a number of workers cannot be negative.")
    if scheduler:
        return Compute("scheduler", num=0, address=scheduler)
    if gpus:
        _refuse_missing_gpus(gpus)
        return Compute("gpus", num=gpus)
    if workers:
        return Compute("workers", num=workers)
    return Compute("in-process")


def _refuse_missing_gpus(wanted: int) -> None:
    """Refuse more GPUs than there are, and say what else can be done."""
    there = len(_visible_gpus())
    if there >= wanted:
        return
    found = f"{there} GPU{'s' if there > 1 else ''}" if there else "no GPU"
    fewer = f" Or use --gpus {there}." if there else ""
    raise ComputeError(
        f"choosing where to run: --gpus {wanted} was asked for and this machine has {found}. Use "
        f"--workers N for N processes on the CPU (it has {os.cpu_count()} cores).{fewer}"
    )


def _visible_gpus() -> list[str]:
    """Return the GPUs that a worker may be given; the driver is asked, no torch is loaded."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip() not in {"", "-1"}]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    gpus = [line for line in listed.stdout.splitlines() if line.startswith("GPU")]
    return [str(number) for number in range(len(gpus))]


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    compute: Compute,
    threads: int,
    on_done: Callable[[Item, Result], None],
    retries: int = 2,
) -> None:
    """Run a function over items; a failed item does not stop the others.

    Args:
        function: Importable by name on a worker.
        items: Small and picklable; their `str` names them in messages.
        compute: Where.
        threads: Threads of one worker process.
        on_done: Called here with each item and its result, in the order in which they end.
        retries: How often an item runs again that raised, or whose worker died. A `VcmaugError`
            is for a user to mend and is not tried again.

    Raises:
        ComputeError: Names every item that failed, after all others have ended; or the workers
            could not be started or reached.
    """
    if not items:
        return
    if compute.kind == "in-process":
        faults = _run_here(function, items, on_done=on_done, retries=retries)
    else:
        faults = _run_in_rounds(
            function, items, compute=compute, threads=threads, on_done=on_done, retries=retries
        )
    if faults:
        raise ComputeError(
            list_faults(
                f"running {len(items)} pieces of work {compute}, of which {len(faults)} failed",
                _grouped(faults),
                advice="What is finished is kept. Run the same command again for the rest.",
            )
        )


def _grouped(faults: Sequence[_Fault]) -> list[str]:
    """Return one sentence per cause; items with the same cause share it."""
    items_of: dict[str, list[str]] = {}
    for item, text in faults:
        items_of.setdefault(text, []).append(item)
    return [
        f"{', '.join(items[:3])}{f' and {len(items) - 3} more' if len(items) > 3 else ''}: {text}"
        for text, items in items_of.items()
    ]


def _run_here(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    on_done: Callable[[Item, Result], None],
    retries: int,
) -> list[_Fault]:
    """Run items one after the other in this process; return what failed."""
    faults: list[_Fault] = []
    for item in items:
        for tries_left in reversed(range(retries + 1)):
            try:
                outcome = _guarded(function, item)
            except Exception as error:
                if tries_left == 0:
                    faults.append((str(item), f"{type(error).__name__}: {error}"))
            else:
                if outcome.fault:
                    faults.append((str(item), outcome.fault))
                else:
                    on_done(item, outcome.result)
                break
    return faults


def _guarded(function: Callable[[Item], Result], item: Item) -> _Outcome:
    """Return the outcome of one item; errors that trying again may cure pass through."""
    try:
        return _Outcome(function(item))
    except VcmaugError as fault:
        return _Outcome(None, str(fault) or type(fault).__name__)


def _run_in_rounds(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    compute: Compute,
    threads: int,
    on_done: Callable[[Item, Result], None],
    retries: int,
) -> list[_Fault]:
    """Run items on workers, on new ones while all were lost and fewer items are left.

    A worker that dies within moments of its start is not started again by Dask.
    """
    faults: list[_Fault] = []
    left = list(items)
    num_before = len(items) + 1
    while left and len(left) < num_before:
        num_before = len(left)
        try:
            with _client(compute, threads=threads, num_items=len(left), retries=retries) as client:
                found = _run_there(client, function, left, on_done=on_done, retries=retries)
        except ComputeError:
            if num_before == len(items):
                raise
            break
        faults += [(str(item), text) for item, text in found if text != _NO_WORKER]
        left = [item for item, text in found if text == _NO_WORKER]
    return faults + [(str(item), _NO_WORKER) for item in left]


def _run_there(
    client: Any,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    on_done: Callable[[Item, Result], None],
    retries: int,
) -> list[tuple[Item, str]]:
    """Run items on a Dask client; return those that failed, and what went wrong with each."""
    failed: list[tuple[Item, str]] = []
    futures = {
        client.submit(_guarded, function, item, retries=retries, pure=False): item for item in items
    }
    for future in as_completed(list(futures)):
        item, outcome = futures.pop(future), _outcome_of(future)
        if outcome.fault:
            failed.append((item, outcome.fault))
        else:
            on_done(item, outcome.result)
    return failed


def _outcome_of(future: Any) -> _Outcome:
    """Return what became of an item that ended, in words where it failed."""
    if future.status == "cancelled":
        return _Outcome(None, "the connection to the Dask scheduler was lost")
    try:
        outcome: _Outcome = future.result()
    except KilledWorker:
        return _Outcome(None, "its worker process died each time, as when memory runs out")
    except NoWorkerError:
        return _Outcome(None, _NO_WORKER)
    except Exception as error:
        return _Outcome(None, f"{type(error).__name__}: {error}")
    return outcome


@contextmanager
def _client(compute: Compute, *, threads: int, num_items: int, retries: int) -> Iterator[Client]:
    """Yield a Dask client on the wanted workers, and close what was opened."""
    if compute.kind == "scheduler":
        with _quiet(), _remote_client(compute.address) as client:
            yield client
        return
    with (
        _quiet(),
        _environment(threads),
        dask.config.set(_configuration(retries)),
        _start_workers(compute, num=min(compute.num, num_items)) as cluster,
        Client(cluster, timeout=_START_SECONDS) as client,
    ):
        yield client


def _start_workers(compute: Compute, *, num: int) -> Any:
    """Return a cluster of local processes, each with one task at a time.

    Raises:
        ComputeError: They could not be started.
    """
    gpus: Sequence[str | None] = _visible_gpus() if compute.kind == "gpus" else [None] * num
    workers = {
        place: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": None,
                "host": "127.0.0.1",
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",
                "env": {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu},
            },
        }
        for place, gpu in enumerate(gpus[:num])
    }
    # Without an address Dask's HTTP server takes port 8787, and warns where another run has it.
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    options = {**here, "port": 0}
    try:
        return SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": options})
    except (OSError, RuntimeError, TimeoutError) as fault:
        raise ComputeError(
            f"running work {compute}: they could not be started ({fault}). A script must start "
            'them below `if __name__ == "__main__":`. If it does, ask for fewer.'
        ) from None


@contextmanager
def _remote_client(address: str) -> Iterator[Client]:
    """Yield a client of a cluster that exists and has a worker."""
    try:
        client = Client(address, timeout=_START_SECONDS)
    except (OSError, TimeoutError, ValueError) as fault:
        raise ComputeError(
            f"reaching the Dask scheduler at {address}: {fault}. Check the address, such as "
            "tcp://host:8786, and that the scheduler runs."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_START_SECONDS)
        except TimeoutError:
            raise ComputeError(
                f"running on the Dask cluster at {address}: it has no worker after "
                f"{_START_SECONDS} s. Start workers with vcmaug installed and the same folders."
            ) from None
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's own log: what failed is reported by `run_all`, once."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:  # those to which Dask gives a level
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set thread counts in this process's environment, for the processes that it starts.

    They must stand there before a worker's Python starts, since libraries read them as they are
    loaded; so must the wish that Dask's log be quiet. Dask adds variables of its own; all are
    taken back.
    """
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _configuration(retries: int) -> dict[str, Any]:
    """Return Dask's settings for local workers.

    One item at a time per worker, so that an item whose neighbour kills the worker is not counted
    among the culprits. Where no worker is left and none comes back, the items fail; none waits.
    """
    return {
        "distributed.scheduler.allowed-failures": retries,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.no-workers-timeout": f"{_RESTART_SECONDS} s",
    }
