"""The memory of a process: its peak, and how much of it the C library keeps for later tensors.

Workers and trainings set the allocator before their first item; the peak is reported.

References:
    glibc manual, "Malloc Tunable Parameters"; proc(5).

Notes:
    Dask makes the allocator of its workers return memory to the system at once, which suits tables.
    For networks it is slow: every tensor then gets fresh pages, which the kernel fills with zeros.
    That took two fifths of the time of a small network on a CPU.
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
