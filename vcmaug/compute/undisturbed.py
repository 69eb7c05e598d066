"""What a local worker process loads first: it leaves Ctrl-C to its parent, and ends at once.

Ctrl-C reaches every process of a terminal; only the parent shall act on it. `clients` names this
module as a Dask preload, and each worker imports it.

References:
    Dask distributed, "Customize initialization".

Notes:
    Shutting down a Python that has loaded torch takes more than a second, and a run waits for it.
    Exit handlers registered later run first; those of Dask and earlier ones are skipped.
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
