"""One request of a finished cohort drawn again, and held against its file.

It proves on any machine that a manifest's row says how its image was made; nothing is written.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vcmaug.cohort.manifest import read_rows
from vcmaug.cohort.row import Drawn, ManifestRow
from vcmaug.compute.devices import Clock, threads_of, torch_device
from vcmaug.data.nifti import image_bytes, image_in, read_image
from vcmaug.errors import CohortError, DataError
from vcmaug.files import sha256_of_bytes
from vcmaug.generate.loading import load_plan
from vcmaug.generate.micro_batch import draw_requests
from vcmaug.generate.plan import Plan

__all__ = ["Repeated", "repeat"]


@dataclass(frozen=True)
class Repeated:
    """What came of it.

    Attributes:
        same: Whether the file is what was drawn now, byte by byte, and what the manifest says.
        difference: Largest difference of a voxel from the file, whose values are in [0, 1].
        words: The same for people.
    """

    same: bool
    difference: float
    words: str


def repeat(folder: Path, request_id: str, *, device: str = "cpu") -> Repeated:
    """Draw a request of a finished cohort again, with its whole micro-batch.

    Args:
        folder: Of the cohort.
        request_id: Or the case's id, such as synthetic-r000012.
        device: A torch device, or "auto"; the bytes are the same on the kind that the manifest
            names.

    Raises:
        CohortError: The cohort is not finished, there is no such request, it has no image, its file
            is lost or damaged, or what its plan needs has changed.
    """
    device = torch_device(device)
    wanted = request_id.removeprefix("synthetic-")
    row, drawn = _drawn_row(folder, wanted)
    path = folder / row.image
    try:
        before, image = path.read_bytes(), read_image(path, case_id=request_id)
    except (OSError, DataError) as fault:
        raise CohortError(
            f"drawing {request_id} again: {path} is lost or damaged ({fault}). `vcmaug generate "
            "... --verify` to draw it again."
        ) from None
    plan = Plan.read(folder)
    with threads_of(plan.settings.threads_per_worker):
        loaded = load_plan(plan, device=device)
        requests = plan.requests_of_micro_batch(drawn.micro_batch)
        readable = {request: loaded.condition_of(request) for request in requests}
        draws = draw_requests(readable, loaded, clock=Clock(device))
    last = {draw.request.request_id: draw for draw in draws}[wanted]
    content = image_bytes(last.image)
    difference = float(np.abs(image_in(content) - image.array).max())
    same = content == before
    how = "the same bytes" if same else f"other bytes, at most {difference:.3g} apart"
    words = f"{wanted}, drawn again on {device}: {how} (first drawn on {row.run.device})."
    if sha256_of_bytes(before) != row.image_sha256:
        same, words = False, f"{words} The file is not the one of the manifest."
    if last.together != drawn.drawn_together:
        words += f" {drawn.drawn_together} were drawn together then, {last.together} now."
    return Repeated(same, difference, words)


def _drawn_row(folder: Path, request_id: str) -> tuple[ManifestRow, Drawn]:
    """Return the row of a request, and how its image was drawn."""
    rows = list(read_rows(folder))
    row = next((row for row in rows if row.request_id == request_id), None)
    doing = f"drawing {request_id} of {folder} again"
    if row is None:
        raise CohortError(
            f"{doing}: there is no such request; they go from {rows[0].request_id} to "
            f"{rows[-1].request_id}."
        )
    if not row.is_done or row.drawn is None:
        raise CohortError(f"{doing}: it has no image ({row.reason or 'no sampler drew it'}).")
    return row, row.drawn
