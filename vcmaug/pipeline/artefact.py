"""Artefacts: the results of a recipe, each with its key, its state, and the way to make it.

One law for all: a key is the fingerprint of every setting that decides, of every file outside the
work folder that is read, and of the keys of the artefacts that are needed. What was made from other
settings is set aside as a whole in `.stale/`, and comes back when the recipe does.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

from vcmaug.compute import Compute
from vcmaug.errors import FaultyDataSet, RecipeError, list_faults
from vcmaug.files import locked
from vcmaug.pipeline.marker import Marker
from vcmaug.pipeline.rates import Amount, Meter, Rated, machine_label, record_rate
from vcmaug.pipeline.work import Replicate, Work
from vcmaug.progress import Report, silent

__all__ = ["Artefact", "OfReplicate", "Run", "State", "Step", "faults_of", "make_all", "steps_to"]


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


@dataclass
class Run:
    """One making of artefacts: where, and who is told.

    Attributes:
        compute: Where conditions, cohorts and the study's networks are made.
        say: Told after every artefact what it is called, and whether it was made.
        report: Told within the long ones.
        again: Names of those that are made although they are there.
        wanted: All that are to be made, in order.
        ended: Name -> whether it was made.
    """

    compute: Compute = field(default_factory=lambda: Compute("in-process"))
    say: Callable[[str, bool], None] = lambda name, made: None
    report: Report = silent
    again: frozenset[str] = frozenset()
    wanted: tuple["Artefact", ...] = ()
    ended: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Artefact(ABC):
    """One result of a recipe; the fields of a subclass name what it needs.

    One that others read has a method `load`, which returns it and makes nothing.

    Attributes:
        kind: What it is; with the settings it decides the key.
        last: The file in its folder that is written last; nothing: the folder is a file itself.
        sets_aside: Whether what other settings left is moved away as a whole; if not, what makes
            it knows by itself what it can keep.
        work: The work folder.
    """

    kind: ClassVar[str]
    last: ClassVar[str] = ""
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
    def folder(self) -> Path:
        """Its own folder, or its file; if nothing else is said, it is called as its kind."""
        return self.work.folder / self.kind

    def settings(self) -> Mapping[str, object]:
        """Return every setting that decides about it, by the section of the recipe."""
        return {}

    def files(self) -> Mapping[str, object]:
        """Return every file outside the work folder that is read, with what tells of a change."""
        return {}

    def faults(self) -> list[str]:
        """Return, one sentence each, what keeps it from being made, as far as seconds can tell."""
        return []

    @property
    def num_labels(self) -> int:
        """How many training subjects with a label map it needs."""
        return 0

    def lacks_for(self, wanted: Sequence["Artefact"]) -> list[str]:
        """Return, as soon as it is there, what it lacks for others; one sentence each."""
        return []

    @property
    def is_whole(self) -> bool:
        """Whether what is written last is there."""
        return (self.folder / self.last).exists()

    @property
    def amount(self) -> Amount:
        """How much work it is; for an estimate."""
        return Amount()

    @property
    def rated(self) -> Rated:
        """Of what kind its cost is."""
        amount = self.amount
        kind = f"{self.kind} {amount.by}".rstrip()
        voxels = math.prod(self.work.recipe.data.grid.shape)
        return Rated(f"{kind}, {amount.of}", machine_label(gpu=amount.on_gpu), voxels)

    @abstractmethod
    def _make(self, run: Run) -> None:
        """Make it; all that it needs is there. It resumes by itself what was left unfinished."""

    def needs(self) -> tuple["Artefact", ...]:
        """Return the artefacts that it is made from: those among its fields."""
        values = [getattr(self, one.name) for one in fields(self)]
        listed = [value if isinstance(value, tuple) else (value,) for value in values]
        return tuple(one for several in listed for one in several if isinstance(one, Artefact))

    @cached_property
    def now(self) -> Marker:
        """What it would be made from."""
        return Marker.of(
            self.name,
            kind=self.kind,
            settings=self.settings(),
            files=self.files(),
            needs={need.name: need.key() for need in self.needs()},
        )

    def key(self) -> str:
        """Return its fingerprint."""
        return self.now.key

    @property
    def marker(self) -> Path:
        """Where it is recorded what it was made from."""
        return self.work.stages / f"{self.name}.json"

    def state(self) -> State:
        """Return whether it is there, and if it is stale, what differs."""
        before = Marker.read(self.marker)
        if before is None or not self.folder.exists():
            return State("missing")
        if before.key != self.key():
            return State("stale", before.differences(self.now))
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

    def make_marked(self, run: Run) -> None:
        """Set aside what other settings left, make it, and record from what and at what cost.

        Raises:
            WorkFolderError: Another run makes it.
        """
        purpose, name = f"making {self.name}", f".{self.name}.lock"
        with locked(self.work.stages, purpose=purpose, name=name, together=True):
            self._make_held(run)

    def _make_held(self, run: Run) -> None:
        """Make it where nobody else can."""
        before, now, amount = Marker.read(self.marker), self.now, self.amount
        if before is not None and before.key != now.key and self.sets_aside:
            self._exchange(before.key)
        is_fresh = not (self.sets_aside and self.folder.exists())
        now.write(self.marker)
        workers = max(1, run.compute.num) if amount.is_shared else 1
        meter = Meter(self.folder, report=run.report, workers=workers)
        self._make(replace(run, report=meter.report))
        cost = meter.read()
        if is_fresh:
            record_rate(self.rated, cost, items=amount.items)
        told = {name: round(value, 3) for name, value in asdict(cost).items()}
        told |= {"items": amount.items, "of": amount.of}
        now.model_copy(update={"done": True, "cost": told}).write(self.marker)

    def _aside(self, key: str) -> Path:
        """Return where a result of some key is set aside."""
        return self.work.stale / f"{self.name}-{key[:12]}"

    def _exchange(self, before: str) -> None:
        """Move what is there away, and back what was made of these settings.

        Args:
            before: The key of what is there; an older result of that key stays where it is.

        Raises:
            WorkFolderError: Somebody works in the folder.
        """
        place, aside, back = self.folder, self._aside(before), self._aside(self.key())
        if place.exists():
            purpose = "setting aside what was made with other settings"
            with locked(place, purpose=purpose) if place.is_dir() else nullcontext():
                while aside.exists():
                    aside = aside.with_name(f"{aside.name}-older")
                aside.parent.mkdir(parents=True, exist_ok=True)
                place.replace(aside)
        if back.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            back.replace(place)


@dataclass(frozen=True, eq=False)
class OfReplicate(Artefact):
    """An artefact that each replicate has."""

    replicate: Replicate

    @property
    def name(self) -> str:
        """Such as control-n10-s0."""
        return f"{self.kind}-{self.replicate.name}"

    @property
    def folder(self) -> Path:
        """In the folder of the replicate."""
        return self.replicate.folder / self.kind


@dataclass(frozen=True)
class Step:
    """One artefact on the way to others.

    Attributes:
        artefact: Which.
        state: Whether it is there.
        is_made: Whether it would be made now: it is not there, or is to be made again, and it is
            asked for or needed by one that would be made.
    """

    artefact: Artefact
    state: State
    is_made: bool


def steps_to(targets: Iterable[Artefact], *, again: frozenset[str] = frozenset()) -> list[Step]:
    """Return all artefacts on the way to some, each once, after what it needs."""
    order: dict[str, Artefact] = {}

    def collect(artefact: Artefact) -> None:
        if artefact.name not in order:
            for need in artefact.needs():
                collect(need)
            order[artefact.name] = artefact

    asked = list(targets)
    for target in asked:
        collect(target)
    states = {name: one.state() for name, one in order.items()}
    made = {one.name for one in asked}
    for name in reversed(order):  # all that need it have been seen
        if states[name].is_there and name not in again:
            made.discard(name)
        elif name in made:
            made |= {need.name for need in order[name].needs()}
    return [Step(one, states[name], name in made) for name, one in order.items()]


def faults_of(steps: Iterable[Step]) -> list[str]:
    """Return, one sentence each, what keeps any of the steps from being made."""
    found = [fault for step in steps if step.is_made for fault in step.artefact.faults()]
    return list(dict.fromkeys(found))


def make_all(targets: Iterable[Artefact], run: Run) -> None:
    """Make some artefacts and all that they need; what is there is kept.

    Raises:
        RecipeError: Something keeps one of them from being made; nothing is made then.
        FaultyDataSet: What is there lacks something for others; these are not made.
        WorkFolderError: What would be moved aside is in use.
    """
    steps = steps_to(targets, again=run.again)
    if faults := faults_of(steps):
        name = steps[-1].artefact.work.recipe.name
        raise RecipeError(list_faults(f"running recipe {name!r}", faults))
    run.wanted = tuple(step.artefact for step in steps if step.is_made)
    for step in steps:
        if step.is_made:
            step.artefact.make_marked(run)
        if step.is_made or step.state.is_there:
            if faults := step.artefact.lacks_for(run.wanted):
                raise FaultyDataSet(f"running a recipe, {step.artefact.folder}", faults)
            run.ended[step.artefact.name] = step.is_made
            run.say(step.artefact.title, step.is_made)
