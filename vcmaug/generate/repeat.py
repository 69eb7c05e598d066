"""One request of a finished cohort drawn again, and held against its file.

It proves on any machine that a manifest's row says how its image was made; nothing is written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vcmaug.cohort.manifest import read_manifest
from vcmaug.compute.clock import Clock
from vcmaug.compute.devices import threads_of, torch_device
from vcmaug.data.nifti import image_bytes, image_in, read_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError, DataError
from vcmaug.files import sha256_of_bytes
from vcmaug.generate.loading import load_plan, load_request
from vcmaug.generate.micro_batch import draw_requests
from vcmaug.generate.plan import read_plan, requests_of_micro_batch

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
    rows = read_manifest(folder).set_index("request_id")
    if wanted not in rows.index:
        raise CohortError(
            f"drawing {request_id} of {folder} again: there is no such request; they go from "
            f"{rows.index[0]} to {rows.index[-1]}."
        )
    row: dict[Any, Any] = rows.loc[wanted].to_dict()
    if row["status"] != "done":
        raise CohortError(
            f"drawing {request_id} of {folder} again: it has no image ({row['reason']})."
        )
    before = _file_of(folder / row["image"], request_id)
    plan = read_plan(folder)
    with threads_of(plan.settings.threads_per_worker):
        loaded = load_plan(plan, device=device)
        requests = requests_of_micro_batch(plan, int(row["micro_batch"]))
        readable = [load_request(request, loaded) for request in requests]
        draws = draw_requests(readable, loaded, clock=Clock(device))
    last = {draw.request_id: draw for draw in draws}[wanted]
    content = image_bytes(Volume(last.image, last.loaded.label_map.affine))
    difference = float(np.abs(image_in(content) - image_in(before)).max())
    same = content == before
    how = "the same bytes" if same else f"other bytes, at most {difference:.3g} apart"
    words = f"{wanted}, drawn again on {device}: {how} (first drawn on {row['device']})."
    if sha256_of_bytes(before) != row["image_sha256"]:
        same, words = False, f"{words} The file is not the one of the manifest."
    if last.together != row["drawn_together"]:
        words += f" {row['drawn_together']} were drawn together then, {last.together} now."
    return Repeated(same, difference, words)


def _file_of(path: Path, request_id: str) -> bytes:
    """Return the content of an image that is to be compared."""
    try:
        read_image(path, case_id=request_id)
        return path.read_bytes()
    except (OSError, DataError) as fault:
        raise CohortError(
            f"drawing {request_id} again: {path} is lost or damaged ({fault}). `vcmaug generate "
            "... --verify` mends it."
        ) from None
