"""From a drawn micro-batch to files and rows.

What it is: label maps and images first, then a row per draw, each step whole or not there.
In the flow: the worker calls it in a thread of its own.
Sources: none.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow
from vcmaug.cohort.merge import REFUSED
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.files import append_lines, stable_json, write_bytes
from vcmaug.generate.draw import Clock
from vcmaug.generate.micro_batch import Try
from vcmaug.generate.plan import Plan
from vcmaug.provenance import versions

__all__ = ["Bench", "Finished", "keep"]

_AT_ONCE = 4  # volumes; a GPU can draw them faster than one core compresses them


@dataclass(frozen=True)
class Bench:
    """Where one shard is worked on."""

    plan: Plan
    layout: CohortLayout
    shard: int
    device: str


@dataclass(frozen=True)
class Finished:
    """A micro-batch in memory, on its way to the disk.

    Attributes:
        tries: All draws of all its requests.
        attempts: Which attempt it is, of the requests that are to be written.
        micro_batch: Which.
        num_requests: Of it.
        seconds: Spent on drawing it.
        clock: Knows where they went, and is told how long writing takes.
    """

    tries: Sequence[Try]
    attempts: Mapping[str, int]
    micro_batch: int
    num_requests: int
    seconds: float
    clock: Clock


def keep(finished: Finished, bench: Bench) -> None:
    """Write what is missing of a micro-batch, files first, then rows."""
    last = {one.asked.request.request_id: one for one in finished.tries}
    tries = [one for one in finished.tries if one.asked.request.request_id in finished.attempts]

    def written(one: Try) -> dict[str, str]:
        return _written(one, bench, last=one is last[one.asked.request.request_id])

    with finished.clock.phase("write", beside=True), ThreadPoolExecutor(_AT_ONCE) as pool:
        files = list(pool.map(written, tries))
    rows = [
        _row(one, finished, bench, **columns).to_json()
        for one, columns in zip(tries, files, strict=True)
    ]
    append_lines(bench.layout.part(bench.shard), rows)


def _written(one: Try, bench: Bench, *, last: bool) -> dict[str, str]:
    """Write the files of a draw that is kept; return the columns about its files.

    Args:
        one: The draw.
        bench: Where.
        last: Whether it is the one that counts of its request.
    """
    layout, gate = bench.layout, bench.plan.settings.gate
    request_id = one.asked.request.request_id
    image_path, label_path = layout.image(request_id), layout.label(request_id)
    none = {"image": "", "label": "", "image_sha256": "", "label_sha256": ""}
    if one.refused:
        files = none | {"status": _status(one, last=last), "reason": one.refused}
        if gate.keep_rejects and one.figures:  # without figures it is broken
            path = layout.reject(request_id, one.number + 1)
            sha256 = write_image(path, _image_of(one))
            files |= {"image": str(path.relative_to(layout.folder)), "image_sha256": sha256}
        return files
    write_bytes(label_path, one.asked.label_file)
    return {
        "status": _status(one, last=last),
        "reason": "",
        "image": str(image_path.relative_to(layout.folder)),
        "label": str(label_path.relative_to(layout.folder)),
        "image_sha256": write_image(image_path, _image_of(one)),
        "label_sha256": one.asked.row.sha256,
    }


def _image_of(one: Try) -> Volume:
    """Return the image of a draw on the grid of its map."""
    return Volume(one.image, one.asked.label_map.affine)


def _status(one: Try, *, last: bool) -> str:
    """Return the status of a draw: an image that nobody can use failed, others were refused."""
    if not one.refused:
        return "done"
    if not last:
        return REFUSED
    return "rejected" if one.figures else "failed"


def _row(one: Try, finished: Finished, bench: Bench, **files: str) -> ManifestRow:
    """Return the row of a draw; `files` are the columns about its files."""
    plan, request, row = bench.plan, one.asked.request, one.asked.row
    share = {
        name: round(s / finished.num_requests, 4) for name, s in finished.clock.seconds.items()
    }
    return ManifestRow(
        **files,
        request_id=request.request_id,
        index=request.index,
        case_id=f"synthetic-{request.request_id}",
        subject_id=f"synthetic-{row.condition_id}",
        condition_id=row.condition_id,
        condition_sha256=row.sha256,
        source_case_ids=json.dumps(row.source_case_ids),
        source_subject_ids=json.dumps(row.source_subject_ids),
        builder=row.builder,
        fold=row.role,
        parameters=row.steps_json,
        seed=str(plan.seed),
        scalars=stable_json(one.asked.scalars),
        sampler=plan.settings.sampler.name,
        timesteps=stable_json(plan.timesteps),
        strength=plan.settings.strength,
        interval=stable_json(plan.settings.interval),
        prior_sha256=plan.prior_sha256,
        control_sha256=plan.control_sha256,
        tries=one.number + 1,
        checks=stable_json(one.figures),
        micro_batch=finished.micro_batch,
        shard=bench.shard,
        device=_device_name(bench.device),
        seconds=round(finished.seconds / finished.num_requests, 3),
        phases=stable_json(share),
        drawn_together=one.together,
        attempt=finished.attempts[request.request_id],
        versions=stable_json(versions()),
    )


def _device_name(device: str) -> str:
    """Return a device for the manifest: a GPU with its model, since arithmetic depends on it."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device != "cpu" else device
