"""A dry run: every artefact on the way, whether it is there, and what making the rest would cost.

Nothing is made or written, and nothing that computes is imported.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vcmaug.compute import Compute
from vcmaug.pipeline.artefact import Artefact, Step, faults_of_steps, rated, steps_to
from vcmaug.pipeline.rates import Cost, rate_of

__all__ = ["Forecast", "Outlook", "forecast"]

UNKNOWN = "not measured yet on this machine"


@dataclass(frozen=True)
class Outlook:
    """What a run would do about one artefact.

    Attributes:
        name: Of the artefact.
        state: There, unfinished, stale or missing.
        doing: What would be done, in words.
        is_made: Whether it would be made.
        why: What differs from what was made.
        work: How much work that is, in words.
        cost: What that would cost; None: it was never measured on this machine.
    """

    name: str
    state: str
    doing: str
    is_made: bool
    why: tuple[str, ...] = ()
    work: str = ""
    cost: Cost | None = None

    def __str__(self) -> str:
        """Return it as a line."""
        why = f" ({'; '.join(self.why)})" if self.why else ""
        work = f", {self.work}" if self.work else ""
        cost = f"; {_words(self.cost) if self.cost else UNKNOWN}" if self.is_made else ""
        return f"{self.doing}{why}{work}{cost}"


@dataclass(frozen=True)
class Forecast:
    """What a run would do.

    Attributes:
        name: Of the recipe.
        folder: The work folder.
        compute: Where it would run.
        outlooks: One per artefact, in order.
        faults: What keeps it from being done, one sentence each.
        options: The recipe as it was resolved.
    """

    name: str
    folder: str
    compute: str
    outlooks: tuple[Outlook, ...]
    faults: tuple[str, ...]
    options: Any

    @property
    def made(self) -> list[Outlook]:
        """Those that would be made."""
        return [one for one in self.outlooks if one.is_made]

    def lines(self) -> list[str]:
        """Return it for people."""
        width = max(len(one.name) for one in self.outlooks)
        found = [f"{self.name} in {self.folder}, {self.compute}; nothing is done now:"]
        found += [f"  {one.name:<{width}}  {one}" for one in self.outlooks]
        found.append(self._in_all())
        if self.faults:
            found += ["It cannot be done yet:", *(f"  {fault}" for fault in self.faults)]
        return found

    def _in_all(self) -> str:
        """Return the sum of what is known."""
        if not self.made:
            return "Everything is there."
        known = [one.cost for one in self.made if one.cost is not None]
        unknown = len(self.made) - len(known)
        parts = [_words(_sum(known))] if known else []
        parts += [f"{unknown} of {len(self.made)} {UNKNOWN}"] if unknown else []
        return f"In all: {'; '.join(parts)}."

    def as_json(self) -> str:
        """Return it for machines."""
        content = {
            "recipe": self.name,
            "folder": self.folder,
            "compute": self.compute,
            "artefacts": [_record(one) for one in self.outlooks],
            "faults": list(self.faults),
            "options": self.options,
        }
        return json.dumps(content, indent=2, default=str)


def forecast(
    targets: Iterable[Artefact[Any]], *, compute: Compute, again: frozenset[str] = frozenset()
) -> Forecast:
    """Return what making some artefacts would do.

    Args:
        targets: One or more of the same work folder.
        compute: Where it would run.
        again: Names of those that would be made although they are there.
    """
    asked = list(targets)
    steps = steps_to(asked, again=again)
    work = asked[0].work
    return Forecast(
        name=work.recipe.name,
        folder=str(work.folder),
        compute=str(compute),
        outlooks=tuple(_outlook(step, compute) for step in steps),
        faults=tuple(faults_of_steps(steps)),
        options=work.recipe.model_dump(mode="json"),
    )


def _outlook(step: Step, compute: Compute) -> Outlook:
    """Return what would be done about one artefact."""
    artefact, state = step.artefact, step.state
    cost = _cost_of(artefact, compute) if step.is_made else None
    amount = artefact.amount
    work = f"{amount.items:,.0f} {amount.of}" if step.is_made and amount.items > 1 else ""
    return Outlook(artefact.name, state.what, _doing(step), step.is_made, state.why, work, cost)


def _doing(step: Step) -> str:
    """Return what would be done, in words."""
    if not step.is_made:
        return "there" if step.state.is_there else f"{step.state.what}, and not needed"
    words = {
        "missing": "would be made",
        "unfinished": "begun, would be finished",
        "stale": "stale, would be made again",
        "there": "there, would be made again",
    }
    if step.state.what == "stale" and step.artefact.comes_back():
        return "stale, an earlier result of these settings would come back"
    return words[step.state.what]


def _cost_of(artefact: Artefact[Any], compute: Compute) -> Cost | None:
    """Return what making an artefact would cost, by the rates of this machine."""
    amount = artefact.amount
    rate = rate_of(rated(artefact))
    if rate is None:
        return None
    cost = rate.of(amount.items)
    workers = max(1, compute.num) if amount.shared else 1
    return Cost(cost.seconds / workers, cost.memory_mib, cost.gpu_mib, cost.disk_mib)


def _sum(costs: Sequence[Cost]) -> Cost:
    """Return times and disk together, and the largest memory."""
    return Cost(
        seconds=sum(one.seconds for one in costs),
        memory_mib=max((one.memory_mib for one in costs), default=0.0),
        gpu_mib=max((one.gpu_mib for one in costs), default=0.0),
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


def _record(outlook: Outlook) -> dict[str, Any]:
    """Return what is said of one artefact, for machines."""
    cost = outlook.cost
    return {
        "name": outlook.name,
        "state": outlook.state,
        "would_be_made": outlook.is_made,
        "why": list(outlook.why),
        "seconds": None if cost is None else round(cost.seconds, 1),
        "memory_mib": None if cost is None else round(cost.memory_mib),
        "gpu_mib": None if cost is None else round(cost.gpu_mib),
        "disk_mib": None if cost is None else round(cost.disk_mib, 1),
    }
