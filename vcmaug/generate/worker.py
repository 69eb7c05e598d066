"""What a worker does: load the model once, draw the micro-batches of a shard, write them.

What it is: `draw_shard`, which is sent to workers by name.
In the flow: between the plan and the manifest's parts.
Sources: none.

Notes:
    A micro-batch is always drawn whole, so that its bytes do not depend on what was there before;
    only what is missing or damaged is written. Rows follow their files.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import (
    append_lines,
    read_json_lines,
    sha256_of_file,
    stable_json,
    write_bytes,
)
from vcmaug.generate.draw import Asked, Model, draw_images, load_model, read_asked
from vcmaug.generate.plan import Plan, micro_batches_of_shard, read_plan, requests_of_micro_batch
from vcmaug.provenance import versions

__all__ = ["ShardTask", "draw_shard"]


@dataclass(frozen=True)
class ShardTask:
    """One shard for one worker; small, since it travels.

    Attributes:
        folder: Of the cohort.
        shard: Which.
        device: A torch device, or "auto" for a GPU where there is one.
        requests: First and last request, for messages.
    """

    folder: str
    shard: int
    device: str
    requests: str = ""

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"shard {self.shard}" + (f" ({self.requests})" if self.requests else "")


@dataclass(frozen=True)
class _Bench:
    """Where one shard is worked on."""

    plan: Plan
    layout: CohortLayout
    shard: int
    device: str


@dataclass(frozen=True)
class _Drawn:
    """One image of a micro-batch, with what the row says of its draw."""

    asked: Asked
    image: NDArray[np.float32]  # [X, Y, Z]
    micro_batch: int
    seconds: float
    attempt: int


@lru_cache(maxsize=1)
def _model(plan: Plan, device: str) -> Model:
    """Return the model of a plan, loaded once per process."""
    return load_model(plan, device=device)


def draw_shard(task: ShardTask) -> int:
    """Draw what is missing of a shard; return how many requests of it now have a row.

    Raises:
        CohortError: A condition cannot be used, a folder changed after the plan was made, or a
            micro-batch does not fit into memory.
        WorkFolderError: The disk is full.
    """
    folder = Path(task.folder)
    plan = read_plan(folder)
    bench = _Bench(plan, CohortLayout(folder), task.shard, _device(task.device))
    there = {row["request_id"]: row for row in read_json_lines(bench.layout.part(task.shard))}
    num_rows = 0
    with _threads(plan.settings.threads_per_worker):
        for micro_batch in micro_batches_of_shard(plan, task.shard):
            num_rows += _complete(bench, micro_batch, there)
    return num_rows


def _device(wanted: str) -> str:
    """Return the torch device for a wish."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _device_name(device: str) -> str:
    """Return a device for the manifest: a GPU with its model, since arithmetic depends on it."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device != "cpu" else device


@contextmanager
def _threads(num: int) -> Iterator[None]:
    """Compute with so many threads, and with the same convolutions every time, meanwhile."""
    threads, deterministic = torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.set_num_threads(num)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic = deterministic


def _complete(bench: _Bench, micro_batch: int, there: dict[str, dict[str, Any]]) -> int:
    """Draw a micro-batch unless all of it is there; return its number of requests.

    Args:
        bench: Where.
        micro_batch: Which.
        there: Rows that the shard's part holds, by request.
    """
    requests = requests_of_micro_batch(bench.plan, micro_batch)
    missing = {
        request.request_id
        for request in requests
        if not _is_whole(there.get(request.request_id), bench.layout.folder)
    }
    if not missing:
        return len(requests)
    model = _model(bench.plan, bench.device)
    began = time.perf_counter()
    asked = [read_asked(request, plan=bench.plan, model=model) for request in requests]
    images = _draw(asked, bench=bench, model=model, micro_batch=micro_batch)
    seconds = round((time.perf_counter() - began) / len(requests), 3)
    rows = []
    for one, image in zip(asked, images, strict=True):
        request_id = one.request.request_id
        if request_id in missing:
            attempt = int(there.get(request_id, {"attempt": 0})["attempt"]) + 1
            rows.append(_write(_Drawn(one, image, micro_batch, seconds, attempt), bench))
    append_lines(bench.layout.part(bench.shard), [row.to_json() for row in rows])
    return len(requests)


def _is_whole(row: dict[str, Any] | None, folder: Path) -> bool:
    """Return whether a request has a row and its files have the row's hashes."""
    if row is None or row["status"] != "done":
        return False
    for kind in ("image", "label"):
        path = folder / row[kind]
        if not path.exists() or sha256_of_file(path) != row[f"{kind}_sha256"]:
            return False
    return True


def _draw(
    asked: Sequence[Asked], *, bench: _Bench, model: Model, micro_batch: int
) -> NDArray[np.float32]:
    """Return the images [B, X, Y, Z] of a micro-batch, or say that memory is too small for it."""
    try:
        return draw_images(asked, plan=bench.plan, model=model, device=bench.device)
    except torch.OutOfMemoryError as fault:
        raise CohortError(
            f"drawing micro-batch {micro_batch} ({len(asked)} requests) on {bench.device}: out of "
            f"memory ({str(fault).splitlines()[0]}). Lower micro_batch_size; that is another plan, "
            "so choose another --out."
        ) from None


def _write(drawn: _Drawn, bench: _Bench) -> ManifestRow:
    """Write label map and image of one request and return its row; NaN gives a failed row."""
    asked, layout = drawn.asked, bench.layout
    request_id = asked.request.request_id
    image_path, label_path = layout.image(request_id), layout.label(request_id)
    reason = _reason(drawn.image)
    image_sha256 = ""
    if not reason:
        write_bytes(label_path, asked.label_file)
        image_sha256 = write_image(image_path, Volume(drawn.image, asked.label_map.affine))
    return _row(
        drawn,
        bench,
        status="failed" if reason else "done",
        reason=reason,
        image="" if reason else str(image_path.relative_to(layout.folder)),
        label="" if reason else str(label_path.relative_to(layout.folder)),
        image_sha256=image_sha256,
        label_sha256="" if reason else str(asked.row["sha256"]),
    )


def _row(drawn: _Drawn, bench: _Bench, **files: str) -> ManifestRow:
    """Return the row of one request; `files` are the columns about its files."""
    plan, request, row = bench.plan, drawn.asked.request, drawn.asked.row
    return ManifestRow(
        **files,
        request_id=request.request_id,
        index=request.index,
        case_id=f"synthetic-{request.request_id}",
        subject_id=f"synthetic-{row['condition_id']}",
        condition_id=str(row["condition_id"]),
        condition_sha256=str(row["sha256"]),
        source_case_ids=str(row["source_case_ids"]),
        source_subject_ids=str(row["source_subject_ids"]),
        builder=str(row["builder"]),
        parameters=str(row["steps"]),
        seed=str(plan.seed),
        scalars=stable_json(drawn.asked.scalars),
        sampler=plan.settings.sampler.name,
        timesteps=stable_json(plan.timesteps),
        strength=plan.settings.strength,
        interval=stable_json(plan.settings.interval),
        prior_sha256=plan.prior_sha256,
        control_sha256=plan.control_sha256,
        micro_batch=drawn.micro_batch,
        shard=bench.shard,
        device=_device_name(bench.device),
        seconds=drawn.seconds,
        attempt=drawn.attempt,
        versions=stable_json(versions()),
    )


def _reason(image: NDArray[np.float32]) -> str:
    """Return why an image cannot be used, or nothing."""
    if not np.isfinite(image).all():
        return "the image holds NaN or infinity"
    return "the image is the same everywhere" if image.min() == image.max() else ""
