"""A micro-batch in memory: its requests are drawn together until each draw is accepted.

Of each request the last draw counts. The worker writes what comes out, and `--only` compares it
with a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vcmaug.compute.clock import Clock
from vcmaug.generate.acceptance import broken, figures_of, verdict
from vcmaug.generate.loading import LoadedPlan, LoadedRequest
from vcmaug.generate.noise import Noise

__all__ = ["Draw", "draw_requests"]

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
        loaded: The request with its condition.
        image: What was drawn [X, Y, Z]; empty where nothing could be.
        attempt: Which draw of the request, from 0.
        figures: What was measured of it.
        reason: Why it is not accepted, or nothing.
        together: How many requests were drawn at once.
    """

    loaded: LoadedRequest
    image: NDArray[np.float32]
    attempt: int
    figures: dict[str, float]
    reason: str
    together: int

    @property
    def request_id(self) -> str:
        """Id of the request."""
        return self.loaded.request.request_id


def draw_requests(
    requests: Sequence[LoadedRequest], loaded: LoadedPlan, *, clock: Clock
) -> list[Draw]:
    """Return every draw of some requests, in order; what is not accepted is drawn again.

    Args:
        requests: All readable requests of a micro-batch.
        loaded: How to draw, and what is accepted.
        clock: Told how long each phase takes.
    """
    draws: list[Draw] = []
    left = list(requests)
    for attempt in range(loaded.plan.settings.acceptance.num_tries):
        images = _images(left, loaded, attempt=attempt, clock=clock)
        with clock.phase("accept"):
            judged = _judged(left, images, attempt=attempt, loaded=loaded)
        draws += judged
        left = [draw.loaded for draw in judged if draw.reason]
        if not left:
            break
    return draws


def _images(
    requests: Sequence[LoadedRequest], loaded: LoadedPlan, *, attempt: int, clock: Clock
) -> list[_Image]:
    """Return each image and how many were drawn with it; halves where memory is too small."""
    noise = Noise(loaded.plan.seed, [one.request.request_id for one in requests], attempt)
    try:
        images = loaded.drawer(requests, noise, clock=clock)
        return [_Image(image, len(requests)) for image in images]
    except (MemoryError, RuntimeError) as fault:
        if not _out_of_memory(fault):
            raise
        if len(requests) == 1:
            said = (str(fault).splitlines() or [type(fault).__name__])[0]
            return [_Image(_NO_IMAGE, 1, f"out of memory ({said}), even for one volume at a time")]
    if loaded.drawer.device.startswith("cuda"):  # after the handler, which held the draw's memory
        torch.cuda.empty_cache()
    half = -(-len(requests) // 2)
    first = _images(requests[:half], loaded, attempt=attempt, clock=clock)
    return first + _images(requests[half:], loaded, attempt=attempt, clock=clock)


def _out_of_memory(fault: Exception) -> bool:
    """Return whether an error says that memory was too small, of a GPU or of this machine."""
    known = (MemoryError, torch.OutOfMemoryError)
    return isinstance(fault, known) or "can't allocate memory" in str(fault)


def _judged(
    requests: Sequence[LoadedRequest],
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
    whole = [place for place, fault in enumerate(faults) if not fault]
    if loaded.measure is not None and whole:
        arrays = np.stack([images[place].array for place in whole])
        maps = np.stack([requests[place].label_map.array for place in whole])
        for place, measured in zip(whole, loaded.measure(arrays, maps), strict=True):
            figures[place] |= measured
    accept = loaded.plan.settings.acceptance.accept
    return [
        Draw(one, image.array, attempt, found, fault or verdict(found, accept), image.together)
        for one, image, found, fault in zip(requests, images, figures, faults, strict=True)
    ]
