"""What a local worker process loads first: it leaves an interrupt to the process that started it.

What it is: a Dask preload. Ctrl-C reaches every process of a terminal; only the parent shall act.
In the flow: named by `clients`, imported by the worker.
Sources: Dask distributed, "Customize initialization".
"""

import signal

__all__ = ["dask_setup"]


def dask_setup(worker: object) -> None:
    """Ignore interrupts in this process; it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
