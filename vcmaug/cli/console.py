"""What a person sees: progress, plain lines where there is no terminal, one panel per error.

Bars and panels are drawn by rich, which is imported when the first of them is drawn.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from vcmaug.errors import VcmaugError
from vcmaug.progress import Progress, Report, silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["failed", "progress", "say"]

_LINE_SECONDS = 15.0


def say(text: str) -> None:
    """Print one line."""
    print(text, flush=True)


def failed(fault: VcmaugError) -> None:
    """Show an error as one panel on standard error."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"vcmaug cannot go on: {fault}\n")
        return
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    panel = Panel(Text(str(fault)), title="vcmaug cannot go on", border_style="red")
    Console(stderr=True, highlight=False).print(panel)


@contextmanager
def progress(*, quiet: bool = False, json_lines: bool = False) -> Iterator[Report]:
    """Yield a report that draws bars with the time left, or prints a line now and then.

    Args:
        quiet: Say nothing.
        json_lines: Print every report as one line of JSON.
    """
    if quiet or json_lines:
        yield silent if quiet else _print_json
    elif not sys.stdout.isatty():
        yield _PlainLines().report
    else:
        with _new_bars() as bars:
            yield _Bars(bars).report


def _new_bars() -> "Bars":
    """Return bars with description, number, time spent, time left and a note; none is there yet."""
    from rich import progress as bars
    from rich.console import Console

    return bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}"),
        console=Console(highlight=False, soft_wrap=True),
    )


def _print_json(state: Progress) -> None:
    """Print a report as one line of JSON."""
    print(json.dumps(asdict(state)), flush=True)


class _Bars:
    """One bar per piece of work, kept in the order in which they come."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, tuple[int, int]] = {}  # what -> bar, last number done

    def report(self, state: Progress) -> None:
        """Move the bar of a piece of work; one that starts again gets a new bar."""
        known = self._tasks.get(state.what)
        if known is None or state.done < known[1]:
            bar = int(self._bars.add_task(state.what, total=state.total, note=""))
        else:
            bar = known[0]
        self._tasks[state.what] = (bar, state.done)
        if state.done == 0 and state.note:  # such as where Dask's dashboard is
            self._bars.console.print(f"{state.what}: {state.note}", markup=False)
        self._bars.update(bar, completed=state.done, total=state.total, note=state.note)  # type: ignore[arg-type]


class _PlainLines:
    """A line when a piece of work starts, every some seconds, and when it ends."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, int]] = {}  # what -> when, and how much was done then
        self._last: dict[str, float] = {}

    def report(self, state: Progress) -> None:
        """Print a line if it is time."""
        now = time.monotonic()
        if state.what not in self._began or state.done <= 1:
            self._began[state.what] = now, state.done - 1
            self._last[state.what] = now
        if state.done == 0 and state.note:
            print(f"{state.what}: {state.note}", flush=True)
        ended = state.done >= state.total
        if not ended and now - self._last[state.what] < _LINE_SECONDS:
            return
        self._last[state.what] = now
        began, before = self._began[state.what]
        spent = now - began
        left = spent / max(1, state.done - before) * (state.total - state.done)
        when = f"took {spent:.0f} s" if ended else f"about {left:.0f} s left"
        note = f", {state.note}" if state.note else ""
        print(f"{state.what}: {state.done} of {state.total}, {when}{note}", flush=True)
