"""Artefacts: the results of a recipe, each with its key, its state, and the way to make it.

One law for all: a key is the fingerprint of every setting that decides, of every file outside the
work folder that is read, and of the keys of the artefacts that are needed. What was made from other
settings is set aside in `.stale/`, and comes back when the recipe does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from vcmaug.compute import Compute
from vcmaug.errors import RecipeError, list_faults
from vcmaug.pipeline.marker import (
    Marker,
    bring_back,
    differences,
    plain,
    read_marker,
    set_aside,
    write_marker,
)
from vcmaug.pipeline.meter import Meter
from vcmaug.pipeline.rates import Amount, Rated, machine_label, record_rate
from vcmaug.pipeline.work import Work
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint

__all__ = [
    "Artefact",
    "Run",
    "Say",
    "State",
    "Step",
    "faults_of_steps",
    "make_all",
    "rated",
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
        settings, files = plain(self.settings()), plain(self.files())
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
            set_aside(self.folder, self._aside(before.key))
            bring_back(self.folder, self._aside(now.key))
        fresh = not (self.sets_aside and self.folder.exists())
        write_marker(self.marker, now)
        amount = self.amount
        workers = max(1, run.compute.num) if amount.shared else 1
        meter = Meter(self.folder, report=run.report, workers=workers)
        self._make(replace(run, report=meter.report))
        cost = meter.read()
        if fresh:
            record_rate(rated(self), cost, items=amount.items)
        told = cost.record() | {"items": amount.items, "of": amount.of}
        write_marker(self.marker, Marker(**asdict(now) | {"done": True, "cost": told}))


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
