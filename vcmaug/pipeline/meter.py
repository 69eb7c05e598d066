"""The meter that runs while something is made: seconds, memory of all processes, and disk."""

import time
from pathlib import Path

from vcmaug.compute.devices import gpu_peak_memory
from vcmaug.compute.memory import forget_peak_memory, peak_memory
from vcmaug.pipeline.rates import MIB, Cost
from vcmaug.progress import Progress, Report

__all__ = ["Meter"]


class Meter:
    """Measures what it costs to make something, from now on.

    Args:
        path: The folder or file that is made.
        report: Told of progress; workers report their peaks there.
        workers: How many share the work.
    """

    def __init__(self, path: Path, *, report: Report, workers: int) -> None:
        self._path, self._report, self._workers = path, report, workers
        self._mib_before = _mib_of(path)
        self._worker_mib = 0.0
        forget_peak_memory()
        self._began = time.perf_counter()

    def report(self, progress: Progress) -> None:
        """Pass a report on; keep the largest memory of a worker."""
        workers = progress.figures.get("of_workers", {}).values()
        peaks = [float(one.get("peak_mib", 0)) for one in workers]
        self._worker_mib = max([self._worker_mib, *peaks])
        self._report(progress)

    def read(self) -> Cost:
        """Return the cost so far."""
        return Cost(
            seconds=(time.perf_counter() - self._began) * self._workers,
            memory_mib=max(peak_memory() / MIB, self._worker_mib),
            gpu_mib=gpu_peak_memory() / MIB,
            disk_mib=max(0.0, _mib_of(self._path) - self._mib_before),
        )


def _mib_of(path: Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / MIB
