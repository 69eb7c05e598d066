"""A dry run: every artefact on the way, whether it is there, and what making the rest would cost.

Nothing is made or written, and nothing that computes is imported.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import JsonValue

from vcmaug.compute import Compute
from vcmaug.pipeline.artefact import Artefact, Step, faults_of, steps_to
from vcmaug.pipeline.rates import Cost, rate_of, rate_of_cards
from vcmaug.pipeline.work import Work

__all__ = ["Forecast", "Outlook", "forecast"]

_UNKNOWN = "not measured yet on this machine"
_DOING = {
    "missing": "would be made",
    "unfinished": "begun, would be finished",
    "stale": "stale, would be made again",
    "there": "there, would be made again",
}


@dataclass(frozen=True)
class Outlook:
    """What a run would do about one artefact.

    Attributes:
        step: The artefact, its state, and whether it would be made.
        cost: What that would cost; None: it is not known.
        source: By what the cost is known where this machine has not measured it.
    """

    step: Step
    cost: Cost | None = None
    source: str = ""

    @property
    def name(self) -> str:
        """Of the artefact."""
        return self.step.artefact.name

    def __str__(self) -> str:
        """Return it as a line."""
        amount, state = self.step.artefact.amount, self.step.state
        why = f" ({'; '.join(state.why)})" if state.why else ""
        if not self.step.is_made:
            return f"{'there' if state.is_there else f'{state.what}, and not needed'}{why}"
        doing = _DOING[state.what]
        if state.what == "stale" and self.step.artefact.comes_back():
            doing = "stale, an earlier result of these settings would come back"
        work = f", {amount.items:,.0f} {amount.of}" if amount.items > 1 else ""
        cost = f"{_words(self.cost)}{self.source}" if self.cost else _UNKNOWN
        return f"{doing}{why}{work}; {cost}"

    def as_json(self) -> dict[str, JsonValue]:
        """Return it for machines."""
        figures = asdict(self.cost or Cost(0)).items()
        return {
            "name": self.name,
            "state": self.step.state.what,
            "would_be_made": self.step.is_made,
            "why": list(self.step.state.why),
            **{name: round(value, 1) if self.cost else None for name, value in figures},
            "estimated": self.source.strip(),
        }


@dataclass(frozen=True)
class Forecast:
    """What a run would do.

    Attributes:
        work: The work folder and its recipe.
        compute: Where it would run.
        outlooks: One per artefact, in order.
        faults: What keeps it from being done, one sentence each.
    """

    work: Work
    compute: Compute
    outlooks: tuple[Outlook, ...]
    faults: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it for people."""
        name, width = self.work.recipe.name, max(len(one.name) for one in self.outlooks)
        found = [f"{name} in {self.work.folder}, {self.compute}; nothing is done now:"]
        found += [f"  {one.name:<{width}}  {one}" for one in self.outlooks]
        found.append(self._in_all())
        if self.faults:
            found += ["It cannot be done yet:", *(f"  {fault}" for fault in self.faults)]
        return found

    def _in_all(self) -> str:
        """Return the sum of what is known."""
        made = [one for one in self.outlooks if one.step.is_made]
        if not made:
            return "Everything is there."
        known = [one.cost for one in made if one.cost is not None]
        by_cards = sum(bool(one.source) for one in made)
        parts = [_words(_sum(known))] if known else []
        parts += [f"{by_cards} of {len(made)} by cards"] if by_cards else []
        unknown = len(made) - len(known)
        parts += [f"{unknown} of {len(made)} {_UNKNOWN}"] if unknown else []
        return f"In all: {'; '.join(parts)}."

    def as_json(self) -> str:
        """Return it for machines."""
        content = {
            "recipe": self.work.recipe.name,
            "folder": str(self.work.folder),
            "compute": str(self.compute),
            "artefacts": [one.as_json() for one in self.outlooks],
            "faults": list(self.faults),
            "options": self.work.recipe.model_dump(mode="json"),
        }
        return json.dumps(content, indent=2, default=str)


def forecast(
    targets: Iterable[Artefact], *, compute: Compute, again: frozenset[str] = frozenset()
) -> Forecast:
    """Return what making some artefacts would do.

    Args:
        targets: One or more of the same work folder.
        compute: Where it would run.
        again: Names of those that would be made although they are there.
    """
    steps = steps_to(targets, again=again)
    outlooks = tuple(_outlook(step, compute) if step.is_made else Outlook(step) for step in steps)
    return Forecast(steps[-1].artefact.work, compute, outlooks, tuple(faults_of(steps)))


def _outlook(step: Step, compute: Compute) -> Outlook:
    """Return what making an artefact would cost, by this machine's rates or by a card."""
    amount, rated = step.artefact.amount, step.artefact.rated
    workers = max(1, compute.num) if amount.is_shared else 1
    measured = rate_of(rated)
    rate, source = (measured, "") if measured else rate_of_cards(rated)
    cost = rate.scaled(amount.items, disk=rated.disk_items(amount.items)) if rate else None
    return Outlook(step, cost and replace(cost, seconds=cost.seconds / workers), source)


def _sum(costs: Sequence[Cost]) -> Cost:
    """Return times and disk together, and the largest memory."""
    return Cost(
        seconds=sum(one.seconds for one in costs),
        memory_mib=max(one.memory_mib for one in costs),
        gpu_mib=max(one.gpu_mib for one in costs),
        disk_mib=sum(one.disk_mib for one in costs),
    )


def _words(cost: Cost) -> str:
    """Return a cost in words.

    Examples:
        >>> _words(Cost(seconds=150, memory_mib=900, disk_mib=2048))
        'about 2.5 minutes, 900 MiB of memory, 2 GiB of disk'
    """
    words = [f"about {_time(cost.seconds)}"]
    words += [f"{_size(cost.memory_mib)} of memory"] if cost.memory_mib else []
    words += [f"{_size(cost.gpu_mib)} of GPU memory"] if cost.gpu_mib else []
    words += [f"{_size(cost.disk_mib)} of disk"] if cost.disk_mib else []
    return ", ".join(words)


def _time(seconds: float) -> str:
    """Return a time with its unit."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.2g} minutes" if seconds < 6000 else f"{seconds / 3600:.2g} hours"


def _size(mib: float) -> str:
    """Return a size with its unit."""
    return f"{max(1.0, mib):.0f} MiB" if mib < 1000 else f"{mib / 1024:.2g} GiB"
