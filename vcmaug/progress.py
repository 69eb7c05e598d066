"""Progress of long functions, without knowing who listens.

Every long function takes `report: Report = silent`; the command line makes a bar of it, or lines.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Progress", "Report", "silent"]


@dataclass(frozen=True)
class Progress:
    """How far one piece of work is: `done` of `total` steps, and a short note (a loss, a rate).

    `figures` says the same as the note, for machines.
    """

    what: str
    done: int
    total: int
    note: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report nothing."""
