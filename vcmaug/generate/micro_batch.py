"""A micro-batch in memory: its requests are drawn together until each draw is accepted.

Of each request the last draw counts. The worker writes what comes out, and `--only` compares it
with a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vcmaug.compute.devices import Clock
from vcmaug.conditions.conditions import StoredCondition
from vcmaug.data.volume import Volume
from vcmaug.generate.acceptance import broken, figures_of, verdict
from vcmaug.generate.loading import LoadedPlan
from vcmaug.generate.noise import Noise
from vcmaug.generate.plan import Request

__all__ = ["Draw", "MicroBatch", "draw_requests"]

_NO_IMAGE = np.empty((0, 0, 0), dtype=np.float32)


@dataclass(frozen=True)
class _Image:
    """An image before it is judged: how many were drawn at once, and why there is none."""

    array: NDArray[np.float32]
    together: int
    fault: str = ""


@dataclass(frozen=True)
class Draw:
    """One draw of one request.

    Attributes:
        request: Which.
        condition: Its condition.
        image: What was drawn, on the grid of the map; without voxels where nothing could be.
        attempt: Which draw of the request, from 0.
        figures: What was measured of it.
        reason: Why it is not accepted, or nothing.
        together: How many requests were drawn at once.
    """

    request: Request
    condition: StoredCondition
    image: Volume
    attempt: int
    figures: dict[str, float]
    reason: str
    together: int


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
        conditions = [readable[request] for request in left]
        noise = Noise(loaded.plan.seed, [request.request_id for request in left], attempt)
        images = _images(conditions, noise, loaded, clock=clock)
        with clock.phase("accept"):
            judged = _judged(left, conditions, images, attempt=attempt, loaded=loaded)
        draws += judged
        left = [draw.request for draw in judged if draw.reason]
    return draws


def _images(
    conditions: Sequence[StoredCondition], noise: Noise, loaded: LoadedPlan, *, clock: Clock
) -> list[_Image]:
    """Return each image and how many were drawn with it; halves where memory is too small."""
    try:
        images = loaded.drawer(conditions, noise, clock=clock)
        return [_Image(image, len(conditions)) for image in images]
    except (MemoryError, RuntimeError) as fault:
        if not _out_of_memory(fault):
            raise
        if len(conditions) == 1:
            said = (str(fault).splitlines() or [type(fault).__name__])[0]
            return [_Image(_NO_IMAGE, 1, f"out of memory ({said}), even for one volume at a time")]
    if loaded.drawer.device.startswith("cuda"):  # after the handler, which held the draw's memory
        torch.cuda.empty_cache()
    half = -(-len(conditions) // 2)
    return [
        image
        for part in (slice(half), slice(half, None))
        for image in _images(
            conditions[part], replace(noise, ids=noise.ids[part]), loaded, clock=clock
        )
    ]


def _out_of_memory(fault: Exception) -> bool:
    """Return whether an error says that memory was too small, of a GPU or of this machine."""
    known = (MemoryError, torch.OutOfMemoryError)
    return isinstance(fault, known) or "can't allocate memory" in str(fault)


def _judged(
    requests: Sequence[Request],
    conditions: Sequence[StoredCondition],
    images: Sequence[_Image],
    *,
    attempt: int,
    loaded: LoadedPlan,
) -> list[Draw]:
    """Return what became of each draw."""
    faults = [image.fault or broken(image.array) for image in images]
    figures = [
        {} if fault else figures_of(image.array)
        for image, fault in zip(images, faults, strict=True)
    ]
    maps = [condition.label_map for condition in conditions]
    whole = [place for place, fault in enumerate(faults) if not fault]
    if loaded.measure is not None and whole:
        arrays = np.stack([images[place].array for place in whole])
        asked = np.stack([maps[place].array for place in whole])
        for place, measured in zip(whole, loaded.measure(arrays, asked), strict=True):
            figures[place] |= measured
    accept = loaded.plan.settings.acceptance.accept
    return [
        Draw(
            request,
            conditions[k],
            Volume(images[k].array, maps[k].affine),
            attempt,
            figures[k],
            faults[k] or verdict(figures[k], accept),
            images[k].together,
        )
        for k, request in enumerate(requests)
    ]
