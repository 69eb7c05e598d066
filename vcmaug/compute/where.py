"""Where to run: in this process, on local worker processes, one per GPU, or on a Dask cluster.

The command line makes one `Compute` from its options and passes it down to whatever has work.
"""

import itertools
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Literal

from vcmaug.compute.devices import usable_gpus
from vcmaug.cores import allowed_cores
from vcmaug.errors import ComputeError

__all__ = ["Compute", "gpu_model", "resolve_compute", "visible_gpus"]

_GPU = re.compile(r"\d+|(GPU|MIG)-.+")  # a number, or an id as nvidia-smi -L lists it


@dataclass(frozen=True)
class Compute:
    """Where work runs.

    Attributes:
        kind: In this process, in local worker processes, one process per GPU, or on a cluster.
        num: Worker processes or GPUs; 1 in process; 0 on a cluster, which has its own number.
        address: Of the Dask scheduler, for `kind="scheduler"`.
    """

    kind: Literal["in-process", "workers", "gpus", "scheduler"]
    num: int = 1
    address: str = ""

    @property
    def device(self) -> str:
        """The torch device on which a worker computes; "auto" on a cluster: its GPU if any."""
        return {"gpus": "cuda", "scheduler": "auto"}.get(self.kind, "cpu")

    def __str__(self) -> str:
        """Return a phrase for people."""
        if self.kind == "in-process":
            return "in this process"
        if self.kind == "scheduler":
            return f"on the Dask cluster at {self.address}"
        process = "worker process" if self.num == 1 else "worker processes"
        return f"in {self.num} local {'GPU ' if self.kind == 'gpus' else ''}{process}"


def resolve_compute(
    *, gpus: int | None = None, workers: int | None = None, scheduler: str | None = None
) -> Compute:
    """Return where work shall run; without any wish, in this process.

    Args:
        gpus: One worker process per GPU.
        workers: CPU worker processes; 0 is this process.
        scheduler: Address of a Dask scheduler that runs already.

    Raises:
        ComputeError: Two wishes at once, a negative number, or more GPUs than CUDA sees.
    """
    wishes = [
        name for name, v in (("gpus", gpus), ("workers", workers), ("scheduler", scheduler)) if v
    ]
    if len(wishes) > 1:
        raise ComputeError(f"choosing where to run: --{' and --'.join(wishes)} exclude each other.")
    if min(gpus or 0, workers or 0) < 0:
        raise ComputeError("choosing where to run: a number of workers cannot be negative.")
    if scheduler:
        return Compute("scheduler", num=0, address=scheduler)
    if gpus:
        _refuse_missing_gpus(gpus)
        return Compute("gpus", num=gpus)
    if workers:
        return Compute("workers", num=workers)
    return Compute("in-process")


def _refuse_missing_gpus(wanted: int) -> None:
    """Refuse more GPUs than CUDA sees, and say what else can be done."""
    named = visible_gpus()
    there = min(len(named), usable_gpus()) if named else 0  # torch is loaded where it must be
    if there >= wanted:
        return
    found = f"{there} GPU{'s' if there > 1 else ''}" if there else "no GPU"
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    why = "" if chosen is None else f" (CUDA_VISIBLE_DEVICES is {chosen!r})"
    fewer = f" Or use --gpus {there}." if there else ""
    raise ComputeError(
        f"choosing where to run: --gpus {wanted} requested, but CUDA sees {found}{why}. Use "
        f"--workers N for N processes on the CPU (it may use {allowed_cores()} cores).{fewer}"
    )


def visible_gpus() -> list[str]:
    """Return the GPUs that a worker may be given; the driver is asked, no torch is loaded.

    As CUDA reads CUDA_VISIBLE_DEVICES, the first word that is no GPU ends the list.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        words = (word.strip() for word in chosen.split(","))
        return list(itertools.takewhile(_GPU.fullmatch, words))
    return [str(number) for number in range(len(_listed_gpus()))]


def gpu_model() -> str:
    """Return the model of the first GPU that a worker may be given; nothing: there is none."""
    if not visible_gpus():
        return ""
    line = next(iter(_listed_gpus()), "GPU")  # such as GPU 0: NVIDIA A100 (UUID: GPU-..)
    return line.partition(": ")[2].partition(" (UUID")[0] or "GPU"


def _listed_gpus() -> list[str]:
    """Return what the driver says of each GPU, one line each."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in listed.stdout.splitlines() if line.startswith("GPU")]
