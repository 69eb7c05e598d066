"""The torch device and the threads that a process computes with; torch is imported when asked."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["device_name", "threads_of", "torch_device"]


def torch_device(wanted: str) -> str:
    """Return a torch device; "auto" is a GPU where there is one, else the CPU."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def device_name(device: str) -> str:
    """Return a device for a manifest: a GPU with its model, since arithmetic depends on it."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device != "cpu" else device


@contextmanager
def threads_of(num: int) -> Iterator[None]:
    """Compute with so many threads, and with the same convolutions every time, meanwhile."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(num)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = deterministic
