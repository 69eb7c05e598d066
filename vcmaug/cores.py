"""How many processor cores this process may use, which may be fewer than the machine has.

References:
    sched_getaffinity(2); control groups: cpu.cfs_quota_us (v1), cpu.max (v2); Slurm, sbatch(1).
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["allowed_cores"]

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_OF_CORES = {"", "cpu", "cpu,cpuacct", "cpuacct,cpu"}  # version 2 has one tree for everything


def allowed_cores() -> int:
    """Return how many cores this process may use, at least 1.

    It is the least of those that it is pinned to (as by `taskset`), that its control groups allow
    (as containers set them), and that Slurm granted to its task.
    """
    pinned = getattr(os, "sched_getaffinity", None)  # not on every system
    limits = [float(len(pinned(0)) if pinned else os.cpu_count() or 1), *_quotas()]
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdigit():
        limits.append(float(granted))
    return max(1, math.floor(min(limits)))


def _quotas() -> Iterator[float]:
    """Yield the cores that the control group of this process and those around it allow."""
    lines: list[str] = []
    with suppress(OSError):
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers in _OF_CORES:
            root = _GROUPS / controllers
            group = root / place.strip("/")
            for one in (group, *group.parents):
                if one.is_relative_to(root):
                    yield from _quota_of(one)


def _quota_of(group: Path) -> Iterator[float]:
    """Yield the cores that one control group allows; nothing where it sets no limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):
            texts = [(group / name).read_text(encoding="ascii") for name in names]
            quota, period = (int(number) for number in " ".join(texts).split())
            if quota > 0 and period > 0:
                yield quota / period
