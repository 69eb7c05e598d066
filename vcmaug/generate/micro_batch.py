"""A micro-batch in memory: its requests are drawn together until each draw is accepted.

Of each request the last draw counts. The worker writes what comes out, and `--only` compares it
with a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from vcmaug.compute.devices import Clock
from vcmaug.conditions.conditions import StoredCondition
from vcmaug.data.volume import Volume
from vcmaug.generate.acceptance import broken, figures_of, verdict
from vcmaug.generate.loading import LoadedPlan
from vcmaug.generate.noise import Noise
from vcmaug.generate.plan import Request

__all__ = ["Draw", "MicroBatch", "draw_requests"]

_NO_IMAGE = Volume(np.empty((0, 0, 0), dtype=np.float32), np.eye(4))


@dataclass(frozen=True)
class Draw:
    """One draw of one request.

    Attributes:
        request: Which.
        condition: Its condition.
        image: What was drawn, on the grid of the map; without voxels where nothing could be.
        attempt: Which draw of the request, from 0.
        together: How many requests were drawn at once.
        figures: What was measured of it.
        reason: Why it is not accepted, or nothing.
    """

    request: Request
    condition: StoredCondition
    image: Volume
    attempt: int
    together: int
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class MicroBatch:
    """A micro-batch on its way from conditions to files.

    Attributes:
        number: Which.
        requests: All of it.
        attempts: Which attempt it is, of the requests that are to be written.
        clock: Knows how long each phase took.
        readable: The requests that can be drawn, with their conditions; none where nothing is to be
            written.
        unreadable: Why the others cannot; they are left out.
        draws: All draws of all readable requests, once they are drawn.
        seconds: Spent on drawing them.
    """

    number: int
    requests: Sequence[Request]
    attempts: Mapping[str, int]
    clock: Clock
    readable: Mapping[Request, StoredCondition]
    unreadable: Mapping[Request, str]
    draws: Sequence[Draw] = ()
    seconds: float = 0.0


def draw_requests(
    readable: Mapping[Request, StoredCondition], loaded: LoadedPlan, *, clock: Clock
) -> list[Draw]:
    """Return every draw of some requests, in order; what is not accepted is drawn again.

    Args:
        readable: All readable requests of a micro-batch, with their conditions.
        loaded: How to draw, and what is accepted.
        clock: Told how long each phase takes.
    """
    draws: list[Draw] = []
    left = list(readable)
    for attempt in range(loaded.plan.settings.acceptance.num_tries):
        if not left:
            break
        noise = Noise(loaded.plan.seed, [request.request_id for request in left], attempt)
        asked = [(request, readable[request]) for request in left]
        unjudged = _drawn(asked, noise, loaded, clock=clock)
        with clock.phase("accept"):
            judged = _judged(unjudged, loaded)
        draws += judged
        left = [draw.request for draw in judged if draw.reason]
    return draws


def _drawn(
    asked: Sequence[tuple[Request, StoredCondition]],
    noise: Noise,
    loaded: LoadedPlan,
    *,
    clock: Clock,
) -> list[Draw]:
    """Return a draw of each request before it is judged; halves where memory is too small."""
    try:
        images = loaded.drawer([condition for _, condition in asked], noise, clock=clock)
        return [
            Draw(
                request,
                condition,
                Volume(image, condition.label_map.affine),
                noise.attempt,
                together=len(asked),
            )
            for (request, condition), image in zip(asked, images, strict=True)
        ]
    except (MemoryError, RuntimeError) as fault:
        if not _out_of_memory(fault):
            raise
        if len(asked) == 1:
            said = (str(fault).splitlines() or [type(fault).__name__])[0]
            why = f"out of memory ({said}), even for one volume at a time"
            return [Draw(*asked[0], _NO_IMAGE, noise.attempt, together=1, reason=why)]
    if loaded.drawer.device.startswith("cuda"):  # after the handler, which held the draw's memory
        torch.cuda.empty_cache()
    half = -(-len(asked) // 2)
    return [
        draw
        for part in (slice(half), slice(half, None))
        for draw in _drawn(asked[part], replace(noise, ids=noise.ids[part]), loaded, clock=clock)
    ]


def _out_of_memory(fault: Exception) -> bool:
    """Return whether an error says that memory was too small, of a GPU or of this machine."""
    known = (MemoryError, torch.OutOfMemoryError)
    return isinstance(fault, known) or "can't allocate memory" in str(fault)


def _judged(draws: Sequence[Draw], loaded: LoadedPlan) -> list[Draw]:
    """Return draws with what was measured of them, and why they are not accepted."""
    faults = [draw.reason or broken(draw.image.array) for draw in draws]
    figures = [
        {} if fault else figures_of(draw.image.array)
        for draw, fault in zip(draws, faults, strict=True)
    ]
    whole = [place for place, fault in enumerate(faults) if not fault]
    if loaded.measure is not None and whole:
        images = np.stack([draws[place].image.array for place in whole])
        maps = np.stack([draws[place].condition.label_map.array for place in whole])
        for place, measured in zip(whole, loaded.measure(images, maps), strict=True):
            figures[place] |= measured
    accept = loaded.plan.settings.acceptance.accept
    return [
        replace(draw, figures=found, reason=fault or verdict(found, accept))
        for draw, found, fault in zip(draws, figures, faults, strict=True)
    ]
