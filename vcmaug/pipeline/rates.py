"""What making things costs on this machine: measured whenever something is made, kept per user.

A dry run scales these rates to what a recipe asks for.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vcmaug.compute.where import visible_gpus
from vcmaug.errors import VcmaugError
from vcmaug.files import read_json, write_json

__all__ = [
    "MIB",
    "Amount",
    "Cost",
    "Rate",
    "Rated",
    "machine_label",
    "rate_of",
    "rates_file",
    "record_rate",
]

_FORMAT = 1
_WEIGHT_OF_NEW = 0.5
MIB = 2**20


@dataclass(frozen=True)
class Rated:
    """What a rate is of: only equals are compared.

    Attributes:
        kind: Of the work, such as "control vcm".
        device: The machine, see `machine_label`.
        voxels: Of the grid.
    """

    kind: str
    device: str
    voxels: int

    @property
    def key(self) -> str:
        """As it stands in the file."""
        return f"{self.kind} | {self.device} | {self.voxels} voxels"


@dataclass(frozen=True)
class Amount:
    """How much work it is to make something, for an estimate.

    Attributes:
        items: So many.
        of: What they are, such as "updates"; what they cost depends on it.
        shared: Whether workers share them.
    """

    items: float
    of: str
    shared: bool = False


@dataclass(frozen=True)
class Cost:
    """What something cost, or is expected to.

    Attributes:
        seconds: Of all workers together.
        memory_mib: Peak of a process.
        gpu_mib: Peak on a GPU; 0: none was used.
        disk_mib: That it takes.
    """

    seconds: float
    memory_mib: float = 0.0
    gpu_mib: float = 0.0
    disk_mib: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return it for a file."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Rate:
    """The cost of one item; peaks are those of the whole."""

    per_item: Cost
    times: int = 1

    def of(self, items: float) -> Cost:
        """Return what so many items cost."""
        one = self.per_item
        return Cost(one.seconds * items, one.memory_mib, one.gpu_mib, one.disk_mib * items)


def rates_file() -> Path:
    """Return the file of this user's rates, in the folder for caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "vcmaug" / "rates.json"


@cache
def machine_label(*, gpu: bool) -> str:
    """Return the kind of processor and its cores, or of the GPU where there is one.

    Args:
        gpu: Whether the work would be done on a GPU; the driver is asked, no torch is loaded.
    """
    if gpu and (name := _gpu_name()):
        return name
    return f"{_processor()}, {os.cpu_count() or 1} cores"


def _processor() -> str:
    """Return the model of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu_name() -> str:
    """Return the model of the first GPU, or nothing."""
    if not visible_gpus():
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "GPU"
    return next(iter(told.stdout.splitlines()), "GPU").strip()


def rate_of(rated: Rated) -> Rate | None:
    """Return what one item costs; None: it was never measured on this machine."""
    found = _known().get(rated.key)
    return None if found is None else found


def record_rate(rated: Rated, cost: Cost, *, items: float) -> None:
    """Keep what some items cost; a rate that is known moves half the way to the new one.

    A file that cannot be written is left: a rate is worth no failure.
    """
    if items <= 0:
        return
    known = _known()
    before = known.get(rated.key)
    new = Cost(cost.seconds / items, cost.memory_mib, cost.gpu_mib, cost.disk_mib / items)
    known[rated.key] = Rate(new) if before is None else _moved(before, new)
    content = {key: asdict(rate.per_item) | {"times": rate.times} for key, rate in known.items()}
    with suppress(VcmaugError):
        write_json(rates_file(), {"format": _FORMAT, "rates": content})


def _moved(before: Rate, new: Cost) -> Rate:
    """Return a rate that has moved towards a new measurement; peaks do not fall."""
    old, share = before.per_item, _WEIGHT_OF_NEW
    return Rate(
        Cost(
            seconds=(1 - share) * old.seconds + share * new.seconds,
            memory_mib=max(old.memory_mib, new.memory_mib),
            gpu_mib=max(old.gpu_mib, new.gpu_mib),
            disk_mib=(1 - share) * old.disk_mib + share * new.disk_mib,
        ),
        before.times + 1,
    )


def _known() -> dict[str, Rate]:
    """Return all rates of this user; a file that cannot be read holds none."""
    try:
        content = read_json(rates_file())
        return {key: _rate(one) for key, one in content["rates"].items()}
    except (VcmaugError, KeyError, TypeError, AttributeError, OSError):
        return {}


def _rate(content: Mapping[str, float]) -> Rate:
    """Return a rate as it stands in the file."""
    costs = {name: float(value) for name, value in content.items() if name != "times"}
    return Rate(Cost(**costs), int(content.get("times", 1)))
