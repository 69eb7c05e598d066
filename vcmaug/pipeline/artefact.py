"""Artefacts: the results of a recipe, each with its key, its state, and the way to make it.

One law for all: a key is the fingerprint of every setting that decides, of every file outside the
work folder that is read, and of the keys of the artefacts that are needed. What was made from other
settings is set aside in `.stale/`, and comes back when the recipe does.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel

from vcmaug.compute import Compute
from vcmaug.compute.devices import gpu_peak_memory
from vcmaug.compute.memory import forget_peak_memory, peak_memory
from vcmaug.errors import RecipeError, list_faults
from vcmaug.files import locked
from vcmaug.pipeline.marker import Marker, differences, read_marker, write_marker
from vcmaug.pipeline.rates import MIB, Cost, Rated, machine_label, record_rate
from vcmaug.pipeline.work import Work
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import fingerprint

__all__ = [
    "Amount",
    "Artefact",
    "Run",
    "Say",
    "State",
    "Step",
    "faults_of_steps",
    "json_like",
    "make_all",
    "steps_to",
]

T = TypeVar("T")

Say = Callable[[str, bool], None]
"""(artefact, whether it was made) -> None."""


@dataclass(frozen=True)
class State:
    """Whether an artefact is there.

    Attributes:
        what: There; begun and not finished; made from something else; or not there.
        why: What differs from what was made, one phrase each.
    """

    what: Literal["there", "unfinished", "stale", "missing"]
    why: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether nothing is to be made."""
        return self.what == "there"

    def __str__(self) -> str:
        """Return a phrase for people."""
        return f"{self.what}: {'; '.join(self.why)}" if self.why else self.what


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


_HERE = Compute("in-process")


@dataclass
class Run:
    """One making of artefacts: where, and who is told.

    Attributes:
        compute: Where conditions, cohorts and the study's networks are made.
        say: Told after every artefact.
        report: Told within the long ones.
        again: Names of those that are made although they are there.
        wanted: All that are to be made, in order.
        ended: Name -> whether it was made.
    """

    compute: Compute = _HERE
    say: Say = lambda name, ran: None
    report: Report = silent
    again: frozenset[str] = frozenset()
    wanted: tuple["Artefact[Any]", ...] = ()
    ended: dict[str, bool] = field(default_factory=dict)


def json_like(settings: BaseModel, *, without: Iterable[str] = ()) -> Any:
    """Return settings as JSON has them; a path counts by its name, its file by its content.

    Args:
        settings: Any group of them.
        without: Fields at the top that decide nothing, or are said otherwise.
    """
    return _plain(settings.model_dump(mode="python", exclude=set(without)))


def _plain(value: Any) -> Any:
    """Return a value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return value.name if isinstance(value, Path) else value


class Artefact(ABC, Generic[T]):
    """One result of a recipe; a subclass is a frozen dataclass whose fields name what it needs.

    Attributes:
        kind: What it is; with the settings it decides the key.
        sets_aside: Whether what other settings left is moved away as a whole; if not, what makes
            it knows by itself what it can keep.
        work: The work folder.
    """

    kind: ClassVar[str]
    sets_aside: ClassVar[bool] = True
    work: Work

    @property
    def name(self) -> str:
        """Of the artefact, unique in its work folder."""
        return self.kind

    @property
    def title(self) -> str:
        """What it is called when it has been made."""
        return self.name

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Its own folder, or its file."""

    def settings(self) -> Mapping[str, Any]:
        """Return every setting that decides about it, JSON-like."""
        return {}

    def files(self) -> Mapping[str, Any]:
        """Return every file outside the work folder that is read, with what tells of a change."""
        return {}

    def faults(self) -> list[str]:
        """Return, one sentence each, what keeps it from being made, as far as seconds can tell."""
        return []

    @property
    def is_whole(self) -> bool:
        """Whether what is written last is there."""
        return self.folder.exists()

    @property
    def amount(self) -> Amount:
        """How much work it is; for an estimate."""
        return Amount(1, "times")

    @property
    def on_gpu(self) -> bool:
        """Whether it is computed on a GPU where there is one."""
        return False

    @property
    def variant(self) -> str:
        """What beside the grid decides about its cost, such as a method."""
        return ""

    @abstractmethod
    def load(self) -> T:
        """Return it; nothing is made or written."""

    @abstractmethod
    def _make(self, run: Run) -> None:
        """Make it; all that it needs is there. It resumes by itself what was left unfinished."""

    def needs(self) -> tuple["Artefact[Any]", ...]:
        """Return the artefacts that it is made from: those among its fields."""
        found: list[Artefact[Any]] = []
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            found += [need for need in _as_tuple(value) if isinstance(need, Artefact)]
        return tuple(found)

    @cached_property
    def now(self) -> Marker:
        """What it would be made from."""
        needs = {need.name: need.key() for need in self.needs()}
        settings, files = _plain(self.settings()), _plain(self.files())
        key = fingerprint([self.kind, settings, files, list(needs.values())], length=64)
        return Marker(self.name, key, settings, files, needs)

    def key(self) -> str:
        """Return its fingerprint."""
        return self.now.key

    @property
    def marker(self) -> Path:
        """Where it is recorded what it was made from."""
        return self.work.stages / f"{self.name}.json"

    def recorded(self) -> Marker | None:
        """Return what it was made from; None: it was never made here."""
        return read_marker(self.marker)

    def state(self) -> State:
        """Return whether it is there, and if it is stale, what differs."""
        before = self.recorded()
        if before is None:
            return State("missing")
        if before.key != self.key():
            gone = not self.folder.exists()
            return State("missing") if gone else State("stale", differences(before, self.now))
        if not self.folder.exists():
            return State("missing")
        return State("there" if before.done and self.is_whole else "unfinished")

    def comes_back(self) -> bool:
        """Return whether a result of these settings was set aside before."""
        return self._aside(self.key()).exists()

    def make(self, run: Run) -> bool:
        """Make it, and before it what it needs, unless it is there; return whether it was made.

        Raises:
            RecipeError: Something keeps it or what it needs from being made; nothing is made then.
            WorkFolderError: What would be moved aside is in use.
        """
        make_all([self], run)
        return run.ended[self.name]

    def alike(self, run: Run) -> list[Self]:
        """Return those of its kind that are to be made in a run, itself among them."""
        return [one for one in run.wanted if type(one) is type(self)] or [self]

    def _aside(self, key: str) -> Path:
        """Return where a result of some key is set aside."""
        return self.work.stale / f"{self.name}-{key[:12]}"

    def _make_marked(self, run: Run) -> None:
        """Set aside what other settings left, make it, and record from what and at what cost."""
        before, now = self.recorded(), self.now
        if before is not None and before.key != now.key and self.sets_aside:
            _set_aside(self.folder, self._aside(before.key))
            _bring_back(self.folder, self._aside(now.key))
        fresh = not (self.sets_aside and self.folder.exists())
        write_marker(self.marker, now)
        meter = _Meter(self, run)
        self._make(meter.watched)
        cost = meter.read(fresh=fresh)
        write_marker(self.marker, Marker(**asdict(now) | {"done": True, "cost": cost}))


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """Return a value, or the values of a tuple."""
    return value if isinstance(value, tuple) else (value,)


def rated(artefact: Artefact[Any]) -> Rated:
    """Return of what kind the cost of an artefact is."""
    kind = " ".join(part for part in (artefact.kind, artefact.variant) if part)
    voxels = 1
    for length in artefact.work.recipe.data.grid.shape:
        voxels *= length
    device = machine_label(gpu=artefact.on_gpu)
    return Rated(f"{kind}, {artefact.amount.of}", device, voxels)


class _Meter:
    """Measures what making an artefact costs."""

    def __init__(self, artefact: Artefact[Any], run: Run) -> None:
        self._artefact, self._run = artefact, run
        self._amount = artefact.amount
        self._bytes = _bytes_of(artefact.folder)
        self._worker_mib = 0.0
        forget_peak_memory()
        self._began = time.perf_counter()

    @property
    def watched(self) -> Run:
        """The run, in which peaks that workers report are seen."""
        run = self._run
        return Run(run.compute, run.say, self._seen, run.again, run.wanted, run.ended)

    def _seen(self, progress: Progress) -> None:
        """Pass a report on; keep the largest memory of a worker."""
        workers = progress.figures.get("of_workers", {}).values()
        peaks = [float(one.get("peak_mib", 0)) for one in workers]
        self._worker_mib = max([self._worker_mib, *peaks])
        self._run.report(progress)

    def read(self, *, fresh: bool) -> dict[str, Any]:
        """Return the cost; what was made from nothing gives a rate."""
        seconds = time.perf_counter() - self._began
        workers = max(1, self._run.compute.num) if self._amount.shared else 1
        cost = Cost(
            seconds=seconds * workers,
            memory_mib=max(peak_memory() / MIB, self._worker_mib),
            gpu_mib=gpu_peak_memory() / MIB,
            disk_mib=max(0, _bytes_of(self._artefact.folder) - self._bytes) / MIB,
        )
        if fresh:
            record_rate(rated(self._artefact), cost, items=self._amount.items)
        told = {name: round(value, 3) for name, value in asdict(cost).items()}
        return told | {"items": self._amount.items, "of": self._amount.of}


def _bytes_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@dataclass(frozen=True)
class Step:
    """One artefact on the way to others.

    Attributes:
        artefact: Which.
        state: Whether it is there.
        is_made: Whether it would be made now: it is not there, or is to be made again, and it is
            asked for or needed by one that would be made.
    """

    artefact: Artefact[Any]
    state: State
    is_made: bool


def steps_to(
    targets: Iterable[Artefact[Any]], *, again: frozenset[str] = frozenset()
) -> list[Step]:
    """Return all artefacts on the way to some, each once, after what it needs."""
    asked = list(targets)
    order: dict[str, Artefact[Any]] = {}
    for target in asked:
        _collect(target, order)
    states = {name: one.state() for name, one in order.items()}
    made = {one.name for one in asked}
    for name in reversed(order):  # all that need it have been seen
        if states[name].is_there and name not in again:
            made.discard(name)
        elif name in made:
            made |= {need.name for need in order[name].needs()}
    return [Step(one, states[name], name in made) for name, one in order.items()]


def _collect(artefact: Artefact[Any], order: dict[str, Artefact[Any]]) -> None:
    """Add an artefact after what it needs."""
    if artefact.name in order:
        return
    for need in artefact.needs():
        _collect(need, order)
    order[artefact.name] = artefact


def faults_of_steps(steps: Iterable[Step]) -> list[str]:
    """Return, one sentence each, what keeps any of the steps from being made."""
    found = [fault for step in steps if step.is_made for fault in step.artefact.faults()]
    return list(dict.fromkeys(found))


def make_all(targets: Iterable[Artefact[Any]], run: Run) -> None:
    """Make some artefacts and all that they need; what is there is kept.

    Raises:
        RecipeError: Something keeps one of them from being made; nothing is made then.
        WorkFolderError: What would be moved aside is in use.
    """
    steps = steps_to(targets, again=run.again)
    if faults := faults_of_steps(steps):
        name = steps[-1].artefact.work.recipe.name
        raise RecipeError(list_faults(f"running recipe {name!r}", faults))
    run.wanted = tuple(step.artefact for step in steps if step.is_made)
    for step in steps:
        if step.is_made:
            step.artefact._make_marked(run)
        if step.is_made or step.state.is_there:
            run.ended[step.artefact.name] = step.is_made
            run.say(step.artefact.title, step.is_made)


def _set_aside(outputs: Path, aside: Path) -> None:
    """Move what other settings left away, unless somebody works in its folder."""
    if not outputs.exists():
        return
    purpose = "setting aside what was made with other settings"
    with locked(outputs, purpose=purpose) if outputs.is_dir() else nullcontext():
        while aside.exists():
            aside = aside.with_name(f"{aside.name}-older")
        aside.parent.mkdir(parents=True, exist_ok=True)
        outputs.replace(aside)


def _bring_back(outputs: Path, aside: Path) -> None:
    """Move to its folder what was set aside when the settings were these."""
    if aside.exists():
        outputs.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(outputs)
