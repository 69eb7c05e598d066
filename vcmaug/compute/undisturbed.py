"""What a local worker process loads first: it leaves interrupts to its parent, and ends at once.

What it is: a Dask preload. Ctrl-C reaches every process of a terminal; only the parent shall act.
In the flow: named by `clients`, imported by the worker.
Sources: Dask distributed, "Customize initialization".

Notes:
    Taking a Python apart in which torch was loaded lasts longer than a second, and a run waits for
    it. Handlers that were registered later run first, those of Dask and earlier ones are left out.
"""

import atexit
import os
import signal
import sys

__all__ = ["dask_setup"]


def dask_setup(worker: object) -> None:
    """Ignore interrupts in this process; it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(_end)


def _end() -> None:
    """End this process without taking its modules apart."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
