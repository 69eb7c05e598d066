"""A micro-batch with its tries: drawn, judged, and what was refused drawn again.

What it is: all draws of some requests, in memory; of each request the last one counts.
In the flow: between the draw and the worker that writes; also what `--only` repeats.
Sources: none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vcmaug.conditions.table import ConditionRow
from vcmaug.data.volume import Volume
from vcmaug.generate.draw import Asked, Clock, Model, draw_images
from vcmaug.generate.gate import broken, figures_of, verdict
from vcmaug.generate.plan import Plan, Request

__all__ = ["Try", "draw_tries", "unread"]

_NO_IMAGE = np.empty((0, 0, 0), dtype=np.float32)
_Drawn = tuple[NDArray[np.float32], int, str]  # image, how many at once, why there is none


@dataclass(frozen=True)
class Try:
    """One draw of one request.

    Attributes:
        asked: What was asked for.
        image: What was drawn [X, Y, Z]; empty where nothing could be.
        number: Which try, from 0.
        figures: What was measured of it.
        refused: Why it cannot be taken, or nothing.
        together: How many requests were drawn at once.
    """

    asked: Asked
    image: NDArray[np.float32]
    number: int
    figures: dict[str, float]
    refused: str
    together: int


def draw_tries(
    asked: Sequence[Asked], *, plan: Plan, model: Model, device: str, clock: Clock
) -> list[Try]:
    """Return every draw of some requests, in order of tries; a refused one is drawn again.

    Args:
        asked: All requests of a micro-batch.
        plan: How to draw, and what the gate wants.
        model: On `device`.
        device: A torch device.
        clock: Told how long each phase takes.
    """
    tries: list[Try] = []
    left = list(asked)
    for number in range(plan.settings.gate.num_tries):
        drawn = _drawn(left, plan, model, device=device, number=number, clock=clock)
        with clock.phase("gate"):
            judged = _judged(left, drawn, number=number, plan=plan, model=model)
        tries += judged
        left = [one.asked for one in judged if one.refused]
        if not left:
            break
    return tries


def unread(request: Request, row: ConditionRow, reason: str) -> Try:
    """Return the failed draw of a request whose condition cannot be used."""
    nothing = Volume(_NO_IMAGE, np.eye(4))
    asked = Asked(request, row, nothing, label_file=b"", scalars={}, channels={}, presence={})
    return Try(asked, _NO_IMAGE, number=0, figures={}, refused=reason, together=0)


def _drawn(
    asked: Sequence[Asked], plan: Plan, model: Model, *, device: str, number: int, clock: Clock
) -> list[_Drawn]:
    """Return each image and how many were drawn with it; halves where memory is too small."""
    try:
        images = draw_images(
            asked, plan=plan, model=model, device=device, number=number, clock=clock
        )
        return [(image, len(asked), "") for image in images]
    except (MemoryError, RuntimeError) as fault:
        if not _out_of_memory(fault):
            raise
        if len(asked) == 1:
            said = (str(fault).splitlines() or [type(fault).__name__])[0]
            return [(_NO_IMAGE, 1, f"out of memory ({said}), even for one volume at a time")]
    if device.startswith("cuda"):  # after the handler, which held what the draw had allocated
        torch.cuda.empty_cache()
    half = -(-len(asked) // 2)
    first = _drawn(asked[:half], plan, model, device=device, number=number, clock=clock)
    return first + _drawn(asked[half:], plan, model, device=device, number=number, clock=clock)


def _out_of_memory(fault: Exception) -> bool:
    """Return whether an error says that memory was too small, of a GPU or of this machine."""
    known = (MemoryError, torch.OutOfMemoryError)
    return isinstance(fault, known) or "can't allocate memory" in str(fault)


def _judged(
    asked: Sequence[Asked],
    drawn: Sequence[_Drawn],
    *,
    number: int,
    plan: Plan,
    model: Model,
) -> list[Try]:
    """Return what became of each draw."""
    faults = [fault or broken(image) for image, _, fault in drawn]
    figures = [
        {} if fault else figures_of(one[0]) for one, fault in zip(drawn, faults, strict=True)
    ]
    whole = [place for place, fault in enumerate(faults) if not fault]
    if model.measure is not None and whole:
        images = np.stack([drawn[place][0] for place in whole])
        maps = np.stack([asked[place].label_map.array for place in whole])
        for place, found in zip(whole, model.measure(images, maps), strict=True):
            figures[place] |= found
    accept = plan.settings.gate.accept
    return [
        Try(one, image, number, measured, fault or verdict(measured, accept), together)
        for one, (image, together, _), measured, fault in zip(
            asked, drawn, figures, faults, strict=True
        )
    ]
