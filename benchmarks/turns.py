"""Two things timed side by side: in turns, so that whatever else the machine does meets both."""

import statistics
import time
from collections.abc import Callable

from torch import Tensor

from vcmaug.control.base import Control
from vcmaug.control.network import FusingNetwork
from vcmaug.ldm.denoiser import Context, Denoiser


def overhead_of(
    control: Control,
    denoiser: Denoiser,
    *,
    asked: tuple[Tensor, Tensor, Context],
    rounds: int,
    finished: Callable[[object], object] = lambda result: result,
) -> float:
    """Return what a control adds to a sampling step of the bare prior, as a share of it.

    What a control that modulates adds comes after the prior's own step, and is timed alone: two
    steps of a large prior differ by more than that. One that adds features inside is timed whole.

    Args:
        control: With its condition encoded in the context.
        denoiser: Of the prior.
        asked: z_t, t and the context.
        rounds: See `ratio_of`.
        finished: Waits until a result is there, where a device works on its own.
    """
    z_t, t, context = asked
    inside = isinstance(control.network, FusingNetwork)
    epsilon = denoiser(z_t, t, context)
    steered = control.steer(denoiser if inside else lambda z_t, t, context: epsilon)
    ratio = ratio_of(
        lambda: finished(steered(z_t, t, context)),
        lambda: finished(denoiser(z_t, t, context)),
        rounds=rounds,
    )
    return ratio - 1.0 if inside else ratio


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
