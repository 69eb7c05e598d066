"""Freed memory stays with the process: networks ask for the same tensors at every step.

What it is: two settings of the C library's allocator.
In the flow: set in a process before its first item, and before a training.
Sources: glibc manual, "Malloc Tunable Parameters".

Notes:
    Dask has its workers' allocator hand memory back to the system at once, which suits tables.
    Every tensor of a network is then made of fresh pages, which the kernel fills with zeros first:
    a third of the time of a small network on a CPU went there.
"""

import ctypes
import functools

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of parameters, as in malloc.h
_BYTES = 2**30


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB that it has freed; nothing where there is no glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _BYTES)
        mallopt(_MMAP_THRESHOLD, _BYTES)
