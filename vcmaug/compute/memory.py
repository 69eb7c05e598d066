"""A process' memory: its peak, and what it keeps when networks free tensors to ask for them again.

What it is: a figure of the kernel, and two settings of the C library's allocator.
In the flow: set in a process before its first item, and before a training; the peak is reported.
Sources: glibc manual, "Malloc Tunable Parameters"; proc(5).

Notes:
    Dask has its workers' allocator hand memory back to the system at once, which suits tables.
    Every tensor of a network is then made of fresh pages, which the kernel fills with zeros first:
    two fifths of the time of a small network on a CPU went there.
"""

import ctypes
import functools
import resource
from contextlib import suppress
from pathlib import Path

__all__ = ["forget_peak_memory", "keep_freed_memory", "peak_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of parameters, as in malloc.h
_BYTES, _MOST_OF_OLD = 2**30, 2**25  # an older glibc takes no larger threshold


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB that it has freed; nothing where there is no glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    if mallopt(_MMAP_THRESHOLD, _BYTES) or mallopt(_MMAP_THRESHOLD, _MOST_OF_OLD):
        mallopt(_TRIM_THRESHOLD, _BYTES)


def peak_memory() -> int:
    """Return the largest memory of this process so far, in bytes.

    The kernel's `ru_maxrss` begins at the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak_memory() -> None:
    """Let the peak begin anew at what this process has now; nothing where the kernel cannot."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
