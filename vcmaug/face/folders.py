"""Folders for what is made without naming one; they go when the process ends."""

import atexit
import os
import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

__all__ = ["folder_for"]

_numbers = count()


def folder_for(given: Path | str | None, *, name: str) -> Path:
    """Return the folder that is given, or a new one that lasts as long as this process.

    Args:
        given: A path, or None.
        name: What a new folder is for.
    """
    return _root() / f"{name}-{next(_numbers)}" if given is None else Path(given)


@cache
def _root() -> Path:
    """Return the temporary folder of this process."""
    root, owner = Path(tempfile.mkdtemp(prefix="vcmaug-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a process that was forked leaves it
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root
