"""The torch device and the threads of a process, and the time it spends; torch comes when asked."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from vcmaug.cores import allowed_cores

__all__ = [
    "Clock",
    "device_name",
    "gpu_peak_memory",
    "keep_to_allowed_cores",
    "threads_of",
    "torch_device",
    "usable_gpus",
]


def torch_device(wanted: str) -> str:
    """Return a torch device; "auto" is a GPU where there is one, else the CPU."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def usable_gpus() -> int:
    """Return how many GPUs torch can compute on; a driver that does not fit it gives none."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def keep_to_allowed_cores() -> None:
    """Let torch use no more threads than this process may use cores; it knows of no quotas."""
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), allowed_cores()))


def device_name(device: str) -> str:
    """Return a device for a manifest: a GPU with its model, since arithmetic depends on it."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device != "cpu" else device


@contextmanager
def threads_of(num: int | None) -> Iterator[None]:
    """Compute with so many threads, and with the same convolutions every time, meanwhile.

    Args:
        num: Threads of the CPU; None: everything stays as it is.
    """
    import torch

    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(num or threads)
    torch.backends.cudnn.deterministic = deterministic or num is not None
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = deterministic


def gpu_peak_memory() -> int:
    """Return the largest memory of this process on a GPU since it was last asked, in bytes.

    It is 0 where torch was never imported or no GPU is used.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    peak = int(torch.cuda.max_memory_allocated())
    torch.cuda.reset_peak_memory_stats()
    return peak


class Clock:
    """Seconds by phase.

    Args:
        device: A torch device; a GPU is waited for at the end of each phase.

    Attributes:
        seconds: Spent so far, by the name of the phase.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str, *, beside: bool = False) -> Iterator[None]:
        """Count the time that is spent within; work beside the device does not wait for it."""
        began = time.perf_counter()
        yield
        if self.device.startswith("cuda") and not beside:
            import torch

            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - began
