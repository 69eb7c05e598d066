"""What a result came from: versions, machine, fingerprints of settings.

These facts are written into cards, manifests, study results and the report.
"""

import platform
from functools import cache
from importlib import metadata
from typing import Any

from vcmaug.cores import allowed_cores
from vcmaug.files import sha256_of_bytes, stable_json

__all__ = ["fingerprint", "machine", "versions"]

_PACKAGES = ("vcmaug", "torch", "monai", "torchio", "numpy", "nibabel", "pandas", "dask")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, str | int]:
    """Return the kind of machine: system, processor architecture, cores it may use."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": allowed_cores(),
    }


def fingerprint(content: Any, *, length: int = 16) -> str:
    """Return a short hash of JSON-like content; equal content, equal fingerprint.

    Examples:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    return sha256_of_bytes(stable_json(content).encode("utf-8"))[:length]
