"""Dask clients: on local worker processes started for a run, or on an existing cluster.

`open_client` also sets what Dask needs so that a lost worker does not lose the run. `run_all` works
on it; nothing else in the package knows Dask.

References:
    Rocklin 2015, Dask: parallel computation with blocked algorithms and task scheduling, SciPy.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster

from vcmaug.compute.where import Compute, visible_gpus
from vcmaug.errors import ComputeError

__all__ = ["open_client"]

_START_SECONDS = 120
_RESTART_SECONDS = 60  # after which local items whose workers are all gone are given up
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def open_client(
    compute: Compute, *, threads: int, num_items: int, retries: int
) -> Iterator[Client]:
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
    gpus: Sequence[str | None] = visible_gpus() if compute.kind == "gpus" else [None] * num
    workers = {
        place: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": None,
                "host": "127.0.0.1",
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",
                "preload": ["vcmaug.compute.undisturbed"],
                "env": {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu},
            },
        }
        for place, gpu in enumerate(gpus[:num])
    }
    # Without an address Dask's HTTP server takes port 8787, and warns where another run has it.
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "port": 0}
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


def _configuration(retries: int) -> dict[str, int | float | bool | str]:
    """Return Dask's settings for local workers.

    One item at a time per worker, so that an item whose neighbour kills the worker is not counted
    among the culprits. Where no worker is left and none comes back, the items fail; none waits.
    Workers watch themselves less often than by default: 64 of them would fill two cores with it.
    """
    return {
        "distributed.scheduler.allowed-failures": retries,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.no-workers-timeout": f"{_RESTART_SECONDS} s",
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "500 ms",
        "distributed.admin.system-monitor.interval": "2 s",
    }
