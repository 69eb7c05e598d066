"""Seconds by phase of work on a device that may lag behind."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Clock"]


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
