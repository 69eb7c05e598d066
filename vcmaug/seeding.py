"""Seeds that come from names, never from place or time.

A seed is the SHA-256 hash of names such as cohort seed, id and purpose. Every random draw takes a
generator from here, on the CPU.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["evenly", "numpy_generator", "stable_seed", "torch_generator"]


def stable_seed(*names: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on the names and on nothing else.

    Examples:
        >>> stable_seed(0, "case-1", "noise") == stable_seed(0, "case-1", "noise")
        True
        >>> stable_seed(0, "case-1", "noise") == stable_seed(0, "case-1", "warp")
        False
    """
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_generator(*names: str | int) -> np.random.Generator:
    """Return a NumPy generator seeded from the names; see `stable_seed`."""
    return np.random.default_rng(stable_seed(*names))


def torch_generator(*names: str | int) -> "torch.Generator":
    """Return a torch generator on the CPU seeded from the names; see `stable_seed`."""
    import torch  # here, so that whoever only needs a seed loads none

    return torch.Generator(device="cpu").manual_seed(stable_seed(*names))


def evenly(index: int, place: int, num_places: int) -> float:
    """Return a number of [0, 1); those of many indices lie evenly, alone and place by place.

    References:
        Roberts 2018, "The unreasonable effectiveness of quasirandom sequences".

    Examples:
        >>> [round(evenly(index, 0, 1), 2) for index in range(5)]
        [0.5, 0.12, 0.74, 0.35, 0.97]
    """
    ratio = 2.0
    for _ in range(40):
        ratio = (1.0 + ratio) ** (1.0 / (num_places + 1))
    return (0.5 + index / ratio ** (place + 1)) % 1.0
