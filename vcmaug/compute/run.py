"""`run_all`: a function over items, wherever a `Compute` says.

It is one loop in this process, or rounds of Dask tasks, and raises one error for all items that
failed. Generation, conditions and the study run their work with it.

References:
    Rocklin 2015, Dask: parallel computation with blocked algorithms and task scheduling, SciPy.

Notes:
    Only small arguments and results travel; workers load models from disk. Where an item runs never
    changes its result.
"""

import itertools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from distributed import KilledWorker, as_completed, get_worker
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from vcmaug.compute.clients import open_client
from vcmaug.compute.memory import keep_freed_memory
from vcmaug.compute.where import Compute
from vcmaug.errors import ComputeError, VcmaugError, list_faults

__all__ = ["run_all"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_PER_THREAD, _FEWEST_AT_ONCE = 4, 16  # items that wait at the scheduler

_GONE = (OSError, RuntimeError, AttributeError)  # of a lost scheduler, depending on the moment

_Fault = tuple[str, str]  # an item in words, and what went wrong with it

_INTERRUPTED = "not begun, since the run was interrupted"
_LOST = "the connection to the Dask scheduler was lost"
_NO_WORKER = "no worker process is left, and no new one could be started"


@dataclass(frozen=True)
class _Outcome:
    """What became of one item.

    Attributes:
        result: Of an item that went well.
        fault: What went wrong, in words; nothing: it went well.
        again: Whether another try may cure it; an error that the user can fix stays.
        worker: Where it ran.
    """

    result: Any
    fault: str = ""
    again: bool = False
    worker: str = ""


def run_all(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    compute: Compute,
    threads: int,
    on_done: Callable[[Item, Result], None],
    retries: int = 2,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Run a function over items; a failed item does not stop the others.

    An interrupt (Ctrl-C) lets what runs end and begins nothing more; a second one stops at once.

    Args:
        function: Importable by name on a worker.
        items: Small and picklable; their `str` names them in messages.
        compute: Where.
        threads: Threads of one worker process.
        on_done: Called here with each item and its result, in the order in which they end.
        retries: How often an item runs again that raised, on another worker where there is one,
            or whose worker died. A `VcmaugError` is for the user to fix and is not tried again.
        tell: Told where Dask shows what the workers do.

    Raises:
        ComputeError: Names every item that failed, after all others have ended; or the workers
            could not be started or reached.
    """
    if not items:
        return
    with _drained() as stop:
        work = _Work(function, on_done, retries, stop, tell)
        if compute.kind == "in-process":
            faults = _run_here(work, items)
        else:
            faults = _run_in_rounds(work, items, compute=compute, threads=threads)
    if faults:
        raise ComputeError(
            list_faults(
                f"running {len(items)} pieces of work {compute}, of which {len(faults)} failed",
                _grouped(faults),
                advice="What is finished is kept. Run the same command again for the rest.",
            )
        )


def _grouped(faults: Sequence[_Fault]) -> list[str]:
    """Return one sentence per cause; items with the same cause share it."""
    items_of: dict[str, list[str]] = {}
    for item, text in faults:
        items_of.setdefault(text, []).append(item)
    return [
        f"{', '.join(items[:3])}{f' and {len(items) - 3} more' if len(items) > 3 else ''}: {text}"
        for text, items in items_of.items()
    ]


@dataclass(frozen=True)
class _Work:
    """What is done with every item; `stop` is set by an interrupt."""

    function: Callable[[Any], Any]
    on_done: Callable[[Any, Any], None]
    retries: int
    stop: threading.Event
    tell: Callable[[str], None]


@contextmanager
def _drained() -> Iterator[threading.Event]:
    """Yield an event that the first interrupt sets; the second one ends the process as ever."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _run_here(work: _Work, items: Sequence[Any]) -> list[_Fault]:
    """Run items one after the other in this process; return what failed."""
    faults: list[_Fault] = []
    for item in items:
        if work.stop.is_set():
            faults.append((str(item), _INTERRUPTED))
            continue
        for _ in range(work.retries + 1):
            outcome = _guarded(work.function, item)
            if not outcome.again:
                break
        if outcome.fault:
            faults.append((str(item), outcome.fault))
        else:
            work.on_done(item, outcome.result)
    return faults


def _guarded(function: Callable[[Item], Result], item: Item) -> _Outcome:
    """Return the outcome of one item."""
    keep_freed_memory()
    try:
        return _Outcome(function(item))
    except VcmaugError as fault:
        return _Outcome(None, str(fault) or type(fault).__name__)
    except Exception as error:
        return _Outcome(None, f"{type(error).__name__}: {error}", again=True)


def _guarded_there(function: Callable[[Item], Result], item: Item) -> _Outcome:
    """Return the outcome of one item on a Dask worker."""
    return replace(_guarded(function, item), worker=get_worker().address)


def _run_in_rounds(
    work: _Work, items: Sequence[Any], *, compute: Compute, threads: int
) -> list[_Fault]:
    """Run items on workers, on new ones while all were lost and fewer items are left.

    A worker that dies within moments of its start is not started again by Dask.
    """
    faults: list[_Fault] = []
    left = list(items)
    num_before = len(items) + 1
    while left and len(left) < num_before:
        num_before = len(left)
        try:
            with open_client(
                compute, threads=threads, num_items=len(left), retries=work.retries
            ) as client:
                work.tell(f"Dask dashboard at {client.dashboard_link}")
                loose = compute.kind == "scheduler"  # which may wait for ever for one worker
                found = _run_there(client, work, left, loose=loose)
        except ComputeError:
            if num_before == len(items):
                raise
            break
        faults += [(str(item), text) for item, text in found if text != _NO_WORKER]
        left = [item for item, text in found if text == _NO_WORKER]
    return faults + [(str(item), _NO_WORKER) for item in left]


@dataclass(frozen=True)
class _Handed:
    """An item at the scheduler, and the workers on which it has raised."""

    item: Any
    raised_at: tuple[str, ...] = ()


def _run_there(
    client: Any, work: _Work, items: Sequence[Any], *, loose: bool
) -> list[tuple[Any, str]]:
    """Run items on a Dask client; return those that failed, and what went wrong with each.

    Only a few items per worker are handed over at a time, so that scheduler and client stay as
    small for a million items as for a thousand. An item that raised runs again on other workers,
    so that one whose GPU is gone does not fail what it is given.
    """
    failed: list[tuple[Any, str]] = []
    waiting, futures = iter(items), as_completed()
    item_of: dict[Any, _Handed] = {}

    def hand(handed: _Handed) -> None:
        others = _others(client, handed.raised_at)
        future = client.submit(
            _guarded_there,
            work.function,
            handed.item,
            workers=others or None,
            allow_other_workers=loose and bool(others),
            pure=False,
        )
        item_of[future] = handed
        futures.add(future)

    def hand_over() -> None:
        for item in itertools.islice(waiting, max(0, _at_once(client) - len(item_of))):
            hand(_Handed(item))

    hand_over()
    for future in futures:
        if future not in item_of:  # taken back
            continue
        handed, outcome = item_of.pop(future), _outcome_of(future)
        item, raised_at = handed.item, (*handed.raised_at, outcome.worker)
        if outcome.again and len(raised_at) <= work.retries and not work.stop.is_set():
            hand(_Handed(item, raised_at))
        elif outcome.fault:
            failed.append((item, outcome.fault))
        else:
            work.on_done(item, outcome.result)
        if not work.stop.is_set():
            hand_over()
        else:
            failed += [(item, _INTERRUPTED) for item in _taken_back(client, item_of)]
    why = _INTERRUPTED if work.stop.is_set() else _LOST
    return failed + [(item, why) for item in waiting]


def _others(client: Any, raised_at: Sequence[str]) -> list[str]:
    """Return the workers on which an item has not raised yet; none where it has raised nowhere."""
    try:
        return [one for one in client.nthreads() if one not in raised_at] if raised_at else []
    except _GONE:
        return []


def _taken_back(client: Any, item_of: dict[Any, _Handed]) -> list[Any]:
    """Take items back that no worker has begun, and return them; none from a lost scheduler."""
    try:
        begun = {key for keys in client.processing().values() for key in keys}
    except _GONE:
        return []
    futures = [future for future in item_of if future.key not in begun and not future.done()]
    client.cancel(futures)
    return [item_of.pop(future).item for future in futures]


def _at_once(client: Any) -> int:
    """Return how many items a cluster may hold now; none where its scheduler is gone."""
    if client.status != "running":  # or Dask would wait for that scheduler to come back
        return 0
    try:
        num_threads = sum(int(num) for num in client.nthreads().values())
    except _GONE:
        return 0
    return max(_FEWEST_AT_ONCE, _PER_THREAD * num_threads)


def _outcome_of(future: Any) -> _Outcome:
    """Return what became of an item that ended, in words where it failed."""
    if future.status == "cancelled":
        return _Outcome(None, _LOST)
    try:
        outcome: _Outcome = future.result()
    except KilledWorker:
        return _Outcome(None, "its worker process died each time, as when memory runs out")
    except NoWorkerError:
        return _Outcome(None, _NO_WORKER)
    except NoValidWorkerError:  # those that were left for it have died since
        return _Outcome(None, _NO_WORKER, again=True)
    except Exception as error:
        return _Outcome(None, f"{type(error).__name__}: {error}")
    return outcome
