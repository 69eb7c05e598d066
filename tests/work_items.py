"""Work for `run_all` that worker processes import by name; loads no heavy library.

Each function takes (folder, number) and leaves a trace in the folder.
"""

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np

from vcmaug.compute import resolve_compute, run_all
from vcmaug.errors import DataError


def square(item: tuple[str, int]) -> int:
    """Return the square, and write down which process did it."""
    folder, number = item
    (Path(folder) / f"{number}-{os.getpid()}").touch()
    return number**2


def square_slowly(item: tuple[str, int]) -> int:
    """Return the square after a moment."""
    time.sleep(0.05)
    return square(item)


def threads_variable(item: tuple[str, int]) -> str:
    """Return the thread count in the environment."""
    del item
    return os.environ["OMP_NUM_THREADS"]


def gpu_of_worker(item: tuple[str, int]) -> tuple[int, str]:
    """Return the process and the GPU that it sees, after a moment in which others get work."""
    time.sleep(0.2)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


def fresh_pages(item: tuple[str, int]) -> int:
    """Return how many fresh pages this process was given while it used 4 MiB, 50 times."""
    del item
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(2**22, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def square_but_die_once(item: tuple[str, int]) -> int:
    """Kill the own process at number 2, the first time."""
    folder, number = item
    trace = Path(folder) / "died"
    if number == 2 and not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(item)


def square_but_die(item: tuple[str, int]) -> int:
    """Kill the own process at number 2, always."""
    if item[1] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(item)


def square_but_refuse(item: tuple[str, int]) -> int:
    """Raise an error for users at number 1 and a bug at number 2; count the tries."""
    folder, number = item
    with (Path(folder) / f"tries-{number}").open("a", encoding="utf-8") as stream:
        stream.write("x")
    if number == 1:
        raise DataError("number 1 is refused.")
    if number == 2:
        raise ValueError("number 2 is a bug")
    return square(item)


def square_but_raise_once(item: tuple[str, int]) -> int:
    """Raise at number 2, the first time."""
    trace = Path(item[0]) / "raised"
    if item[1] == 2 and not trace.exists():
        trace.touch()
        raise RuntimeError("once")
    return square(item)


def square_where_sound(item: tuple[str, int]) -> int:
    """Return the square after a moment; the first process is broken and raises."""
    try:
        with (Path(item[0]) / "broken").open("x", encoding="utf-8") as stream:
            stream.write(str(os.getpid()))
    except FileExistsError:
        pass
    if (Path(item[0]) / "broken").read_text(encoding="utf-8") in ("", str(os.getpid())):
        raise RuntimeError("the device is gone")
    return square_slowly(item)


def square_in_workers(folder: str, workers: int) -> None:
    """Run squares without end in a process of its own, which a test kills."""
    items = [(folder, number) for number in range(10_000)]
    compute = resolve_compute(workers=workers)
    run_all(square_slowly, items, compute=compute, threads=1, on_done=lambda item, result: None)
