"""What making things costs on this machine: measured whenever something is made, kept per user.

A dry run scales these rates to what a recipe asks for. Where this machine has measured none, it
goes by what trainings took by the cards of the zoo.
"""

import math
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from vcmaug.compute.devices import gpu_peak_memory
from vcmaug.compute.memory import forget_peak_memory, peak_memory
from vcmaug.compute.where import gpu_model
from vcmaug.config import JsonFile
from vcmaug.cores import allowed_cores
from vcmaug.data.geometry import Grid
from vcmaug.errors import VcmaugError
from vcmaug.files import write_text
from vcmaug.progress import Progress, Report
from vcmaug.zoo import zoo_entries, zoo_folder

__all__ = [
    "Amount",
    "Cost",
    "Meter",
    "Rate",
    "Rated",
    "machine_label",
    "rate_of",
    "rate_of_cards",
    "rates_file",
    "record_rate",
]

_MIB = 2**20


@dataclass(frozen=True)
class Rated:
    """What a rate is of: only equals are compared.

    Attributes:
        kind: Of the work, such as "control vcm, updates".
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

    def disk_items(self, items: float) -> float:
        """Return how many items the disk goes with: weights are as large after few updates."""
        return 1 if self.kind.endswith(", updates") else items


@dataclass(frozen=True)
class Amount:
    """How much work it is to make something, for an estimate.

    Attributes:
        items: So many.
        of: What they are, such as "updates"; what they cost depends on it.
        by: What else decides about their cost, such as a method.
        is_shared: Whether workers share them.
        on_gpu: Whether they are computed on a GPU where there is one.
    """

    items: float = 1
    of: str = "times"
    by: str = ""
    is_shared: bool = False
    on_gpu: bool = False


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

    def scaled(self, factor: float, *, disk: float = 1.0) -> Self:
        """Return the cost of so many times the work and the disk; peaks stay."""
        return replace(self, seconds=self.seconds * factor, disk_mib=self.disk_mib * disk)


@dataclass(frozen=True)
class Rate(Cost):
    """The cost of one item, and how often it was measured; peaks are those of the whole."""

    times: int = 1

    def moved(self, new: Cost) -> "Rate":
        """Return it half the way to a new measurement; peaks do not fall."""
        return Rate(
            seconds=(self.seconds + new.seconds) / 2,
            memory_mib=max(self.memory_mib, new.memory_mib),
            gpu_mib=max(self.gpu_mib, new.gpu_mib),
            disk_mib=(self.disk_mib + new.disk_mib) / 2,
            times=self.times + 1,
        )


class _Rates(BaseModel):
    """The file of a user's rates."""

    format: int = 1
    rates: dict[str, Rate] = {}


def rates_file() -> Path:
    """Return the file of this user's rates, in the folder for caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "vcmaug" / "rates.json"


def _known() -> dict[str, Rate]:
    """Return all rates of this user; a file that cannot be read holds none."""
    try:
        return _Rates.model_validate_json(rates_file().read_bytes()).rates
    except (ValidationError, OSError):
        return {}


def rate_of(rated: Rated) -> Rate | None:
    """Return what one item costs; None: it was never measured on this machine."""
    return _known().get(rated.key)


def record_rate(rated: Rated, cost: Cost, *, items: float) -> None:
    """Keep what some items cost; a rate that is known moves half the way to the new one.

    A file that cannot be written is left: a rate is worth no failure.
    """
    if items <= 0:
        return
    known = _known()
    new = Rate(
        cost.seconds / items, cost.memory_mib, cost.gpu_mib, cost.disk_mib / rated.disk_items(items)
    )
    before = known.get(rated.key)
    known[rated.key] = new if before is None else before.moved(new)
    with suppress(VcmaugError):
        write_text(rates_file(), _Rates(rates=known).model_dump_json(indent=2))


@cache
def machine_label(*, gpu: bool) -> str:
    """Return the kind of processor and the cores to use, or of the GPU where there is one.

    Args:
        gpu: Whether the work would be done on a GPU; the driver is asked, no torch is loaded.
    """
    if gpu and (name := gpu_model()):
        return name
    return f"{_processor()}, {allowed_cores()} cores"


def _processor() -> str:
    """Return the model of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class _Spec(BaseModel):
    """Where images lie."""

    grid: Grid


class _Training(BaseModel):
    """The updates of a control, or of the two networks of a prior."""

    updates: int = 0
    autoencoder: "_Training | None" = None
    diffusion: "_Training | None" = None

    @property
    def in_all(self) -> int:
        """All updates."""
        parts = [one.in_all for one in (self.autoencoder, self.diffusion) if one]
        return self.updates + sum(parts)


class _Machine(BaseModel):
    """Where it was trained; no model of the zoo took a GPU."""

    cores: int


class _Card(JsonFile):
    """What a card says of a training; that of a control names no grid, but its prior's does."""

    kind: str
    name: str
    spec: _Spec | None = None
    training: _Training
    figures: Mapping[str, object]
    machine: _Machine

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        found = self.figures.items()
        return sum(float(str(value)) for name, value in found if name.endswith("seconds"))


@cache
def _by_cards() -> dict[Rated, Cost]:
    """Return what one update cost by each card of the zoo; the card stands for the machine."""
    found = {}
    for entry in zoo_entries():
        card, prior = _card(entry), _card(Path(entry).parts[0])
        if prior.spec is not None:
            kind = f"{card.kind} {'' if card.spec else card.name}".rstrip()
            source = f"the card of {entry}, measured on {card.machine.cores} CPU cores"
            rated = Rated(f"{kind}, updates", source, math.prod(prior.spec.grid.shape))
            found[rated] = Cost(card.seconds / card.training.in_all)
    return found


def _card(entry: str) -> _Card:
    """Return the card of an entry."""
    return _Card.read(zoo_folder(entry) / "card.json")


def rate_of_cards(rated: Rated) -> tuple[Cost | None, str]:
    """Return what one item may cost, and by whose card; None and nothing: no card says so.

    The card of the grid that is nearest in size counts, and its seconds go with the voxels; that
    other networks and batches cost more or less is left aside.
    """
    alike = [one for one in _by_cards() if one.kind == rated.kind]
    if not alike:
        return None, ""
    nearest = min(alike, key=lambda one: abs(math.log(one.voxels / rated.voxels)))
    return _by_cards()[nearest].scaled(rated.voxels / nearest.voxels), f" by {nearest.device}"


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
            memory_mib=max(peak_memory() / _MIB, self._worker_mib),
            gpu_mib=gpu_peak_memory() / _MIB,
            disk_mib=max(0.0, _mib_of(self._path) - self._mib_before),
        )


def _mib_of(path: Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / _MIB
