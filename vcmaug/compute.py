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
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from vcmaug.errors import ComputeError, list_faults

__all__ = ["Compute", "resolve_compute", "run_all"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_START_SECONDS = 120


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
        """The torch device on which a worker computes."""
        return "cuda" if self.kind == "gpus" else "cpu"

    def __str__(self) -> str:
        """Return a phrase for people."""
        if self.kind == "in-process":
            return "in this process"
        if self.kind == "scheduler":
            return f"on the Dask cluster at {self.address}"
        return f"in {self.num} local {'GPU ' if self.kind == 'gpus' else ''}worker processes"


def resolve_compute(
    *, gpus: int | None = None, workers: int | None = None, scheduler: str | None = None
) -> Compute:
    """Return where work shall run; without any wish, in this process.

    Args:
        gpus: One worker process per GPU.
        workers: CPU worker processes; 0 is this process.
        scheduler: Address of a Dask scheduler that runs already.

    Raises:
        ComputeError: Two wishes at once, or more GPUs than there are.
    """
    wishes = [
        name for name, v in (("gpus", gpus), ("workers", workers), ("scheduler", scheduler)) if v
    ]
    if len(wishes) > 1:
        raise ComputeError(f"choosing where to run: --{' and --'.join(wishes)} exclude each other.")
    if scheduler:
        return Compute("scheduler", num=0, address=scheduler)
    if gpus:
        there = len(_visible_gpus())
        if there < gpus:
            raise ComputeError(
                f"choosing where to run: --gpus {gpus} was asked for and this machine has {there} "
                f"GPUs. Use --workers N for N processes on the CPU (this machine has "
                f"{os.cpu_count()} cores), or --gpus {there}."
                if there
                else f"choosing where to run: --gpus {gpus} was asked for and this machine has no "
                f"GPU. Use --workers N for N processes on the CPU; this machine has "
                f"{os.cpu_count()} cores."
            )
        return Compute("gpus", num=gpus)
    if workers:
        return Compute("workers", num=workers)
    return Compute("in-process")


def _visible_gpus() -> list[str]:
    """Return the GPUs that a worker may be given, asked of the driver so that no torch is loaded."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip() and gpu.strip() != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(k) for k, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU")]


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
        items: Small and picklable.
        compute: Where.
        threads: Threads of one worker process.
        on_done: Called here with each item and its result, in the order in which they end.
        retries: How often Dask runs an item again whose worker died or that raised.

    Raises:
        ComputeError: Names every item that failed, after all others have ended.
    """
    faults: list[str] = []
    if compute.kind == "in-process":
        _run_here(function, items, on_done=on_done, faults=faults)
    else:
        with _client(compute, threads=threads, num_items=len(items)) as client:
            _run_there(client, function, items, on_done=on_done, faults=faults, retries=retries)
    if faults:
        raise ComputeError(
            list_faults(
                f"running {len(items)} pieces of work {compute}",
                faults,
                advice="What is finished is kept. Run the same command again for the rest.",
            )
        )


def _run_here(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    on_done: Callable[[Item, Result], None],
    faults: list[str],
) -> None:
    """Run items one after the other in this process."""
    for item in items:
        try:
            result = function(item)
        except Exception as fault:
            faults.append(f"{item}: {type(fault).__name__}: {fault}")
        else:
            on_done(item, result)


def _run_there(
    client: Any,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    on_done: Callable[[Item, Result], None],
    faults: list[str],
    retries: int,
) -> None:
    """Run items on a Dask client."""
    from distributed import as_completed  # heavy: only where there is a cluster

    futures = {client.submit(function, item, retries=retries, pure=False): item for item in items}
    for future in as_completed(futures):
        item = futures[future]
        if future.status == "finished":
            on_done(item, future.result())
        else:
            fault = future.exception()
            faults.append(f"{item}: {type(fault).__name__}: {fault}")


@contextmanager
def _client(compute: Compute, *, threads: int, num_items: int) -> Iterator[Any]:
    """Yield a Dask client on the wanted workers, and close what was opened."""
    import dask
    from distributed import Client, LocalCluster, SpecCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set({"distributed.scheduler.allowed-failures": 3})
    if compute.kind == "scheduler":
        try:
            client = Client(compute.address, timeout=_START_SECONDS)
        except (OSError, TimeoutError, ValueError) as fault:
            raise ComputeError(
                f"reaching the Dask scheduler at {compute.address}: {fault}. Check the address."
            ) from None
        with client:
            yield client
        return
    if compute.kind == "gpus":
        cluster: Any = SpecCluster(
            workers=_gpu_workers(compute.num, threads=threads), scheduler=_local_scheduler()
        )
    else:
        cluster = LocalCluster(
            n_workers=min(compute.num, max(1, num_items)),
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            env=_thread_environment(threads),
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster, timeout=_START_SECONDS) as client:
        yield client


def _thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that bind a worker's libraries to a number of threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {"PYTHONPATH": os.pathsep.join(sys.path)}


def _gpu_workers(num: int, *, threads: int) -> dict[int, dict[str, Any]]:
    """Return one worker's specification per GPU, each seeing its own GPU only."""
    from distributed import Nanny

    return {
        place: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "env": _thread_environment(threads) | {"CUDA_VISIBLE_DEVICES": gpu},
            },
        }
        for place, gpu in enumerate(_visible_gpus()[:num])
    }


def _local_scheduler() -> dict[str, Any]:
    """Return the specification of a scheduler for this machine alone."""
    from distributed import Scheduler

    return {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
