"""The checkpoint of an unfinished training: tensors and figures in one file, written whole."""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from vcmaug.errors import ModelError
from vcmaug.files import write_bytes

__all__ = ["read_checkpoint", "write_checkpoint"]

_STATE = frozenset(
    [
        "identity",
        "step",
        "seconds",
        "smooth_loss",
        "log",
        "sums",
        "module",
        "average",
        "best",
        "best_update",
        "best_value",
        "optimiser",
    ]
)


def write_checkpoint(path: Path, **state: Any) -> None:
    """Write a checkpoint atomically; `state` has exactly the parts of one."""
    assert set(state) == _STATE
    stream = BytesIO()
    torch.save(state, stream)
    write_bytes(path, stream.getvalue())


def read_checkpoint(path: Path, *, what: str) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote; no code in the file runs.

    Args:
        path: The checkpoint.
        what: Names the training in messages.

    Raises:
        ModelError: It is damaged, or is no checkpoint of a training.
    """
    try:
        state = dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as fault:  # bytes that are no checkpoint make it raise almost anything
        raise ModelError(_damaged(path, what, str(fault).partition("\n")[0])) from None
    if missing := sorted(_STATE - set(state)):
        raise ModelError(_damaged(path, what, f"it lacks {', '.join(missing)}"))
    return state


def _damaged(path: Path, what: str, reason: str) -> str:
    """Return what is wrong with a checkpoint, and what to do."""
    return (
        f"{what}: checkpoint {path} is damaged ({reason}). Remove it, or say --resume never, to "
        "train again."
    )
