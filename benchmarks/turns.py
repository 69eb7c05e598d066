"""Two things timed side by side: in turns, so that whatever else the machine does meets both."""

import statistics
import time
from collections.abc import Callable


def ratio_of(first: Callable[[], object], second: Callable[[], object], *, rounds: int) -> float:
    """Return the seconds of the first over the second: the median over rounds of one call each.

    One more round comes before and does not count.
    """
    ratios = []
    for _ in range(rounds + 1):
        ends = [time.perf_counter()]
        for action in (first, second):
            action()
            ends.append(time.perf_counter())
        ratios.append((ends[1] - ends[0]) / (ends[2] - ends[1]))
    return statistics.median(ratios[1:])
