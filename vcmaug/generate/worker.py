"""What a worker does: load the model once, draw the micro-batches of a shard, write them.

What it is: `draw_shard`, which is sent to workers by name.
In the flow: between the plan and the manifest's parts.
Sources: none.

Notes:
    A micro-batch is always drawn whole, so that its bytes do not depend on what was there before;
    only what is missing or damaged is written. Rows follow their files.
"""

import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow
from vcmaug.conditions.build import read_conditions
from vcmaug.control.base import Control
from vcmaug.control.build import load_control
from vcmaug.data.labels import LabelScheme, one_hot
from vcmaug.data.nifti import read_label_map, write_image, write_label_map
from vcmaug.data.scalars import raw_value
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import append_lines, read_json_lines, sha256_of_file, stable_json
from vcmaug.generate.noise import noise_of
from vcmaug.generate.plan import Plan, Request, micro_batches_of_shard, read_plan
from vcmaug.generate.plan import requests_of_micro_batch as requests_of
from vcmaug.generate.samplers import sample
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.provenance import versions

__all__ = ["ShardTask", "draw_shard"]


@dataclass(frozen=True)
class ShardTask:
    """One shard for one worker; small, since it travels."""

    folder: str
    shard: int
    device: str

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"shard {self.shard}"


@dataclass(frozen=True)
class _Model:
    """What a worker keeps between shards."""

    prior: Prior
    control: Control
    scheme: LabelScheme
    conditions: pd.DataFrame


@dataclass(frozen=True)
class _Asked:
    """One request with what it asks for."""

    request: Request
    row: dict[str, Any]
    label_map: Volume
    scalars: dict[str, float | None]


@lru_cache(maxsize=1)
def _model(prior: str, control: str, conditions: str, device: str, hashes: str) -> _Model:
    """Return the model of a plan, loaded once per process; `hashes` tells plans apart."""
    del hashes
    loaded = load_prior(Path(prior), device=device)
    steering = load_control(Path(control), prior=loaded, device=device)
    scheme = LabelScheme.from_json(steering.card["scheme"])
    return _Model(loaded, steering, scheme, read_conditions(Path(conditions)))


def draw_shard(task: ShardTask) -> int:
    """Draw what is missing of a shard; return how many requests of it now have a row.

    Raises:
        CohortError: A condition does not lie on the prior's grid.
    """
    folder = Path(task.folder)
    plan, layout = read_plan(folder), CohortLayout(folder)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(plan.settings.threads_per_worker)
    try:
        return _draw_missing(plan, layout, task)
    finally:  # in process, others go on with their own number of threads
        torch.set_num_threads(threads_before)


def _draw_missing(plan: Plan, layout: CohortLayout, task: ShardTask) -> int:
    """Draw the micro-batches of a shard that lack a row or a file; return its number of rows."""
    part = layout.part(task.shard)
    there = {row["request_id"]: row for row in read_json_lines(part)}
    num_rows = 0
    for micro_batch in micro_batches_of_shard(plan, task.shard):
        requests = requests_of(plan, micro_batch)
        missing = [r for r in requests if not _is_whole(there.get(r.request_id), layout.folder)]
        if missing:
            rows = _draw_micro_batch(plan, requests, layout=layout, task=task, number=micro_batch)
            append_lines(part, [row.to_json() for row in rows if row.request_id in _ids(missing)])
        num_rows += len(requests)
    return num_rows


def _ids(requests: list[Request]) -> set[str]:
    """Return the ids of requests."""
    return {request.request_id for request in requests}


def _is_whole(row: dict[str, Any] | None, folder: Path) -> bool:
    """Return whether a request has a row and its files have the row's hashes."""
    if row is None or row["status"] != "done":
        return False
    for kind in ("image", "label"):
        path = folder / row[kind]
        if not path.exists() or sha256_of_file(path) != row[f"{kind}_sha256"]:
            return False
    return True


def _draw_micro_batch(
    plan: Plan, requests: list[Request], *, layout: CohortLayout, task: ShardTask, number: int
) -> list[ManifestRow]:
    """Draw one micro-batch, write its files, and return its rows."""
    began = time.perf_counter()
    hashes = plan.prior_sha256 + plan.control_sha256 + plan.conditions_sha256
    model = _model(
        plan.prior_folder, plan.control_folder, plan.conditions_folder, task.device, hashes
    )
    asked = [_read_asked(request, plan, model) for request in requests]
    images = _draw(asked, plan=plan, model=model, device=task.device)
    seconds = (time.perf_counter() - began) / len(requests)
    return [
        _write(one, image, plan=plan, layout=layout, task=task, micro_batch=number, seconds=seconds)
        for one, image in zip(asked, images, strict=True)
    ]


def _read_asked(request: Request, plan: Plan, model: _Model) -> _Asked:
    """Return a request with its condition's map and scalars."""
    row = {str(k): v for k, v in model.conditions.iloc[request.condition].to_dict().items()}
    path = Path(plan.conditions_folder) / str(row["map"])
    label_map = read_label_map(path, case_id=str(row["condition_id"]))
    if label_map.shape != tuple(model.prior.spec.grid.shape):
        raise CohortError(
            f"request {request.request_id}, {path}: the map has shape {label_map.shape}, the "
            f"prior draws {tuple(model.prior.spec.grid.shape)}. Prepare both on one grid."
        )
    unknown = model.scheme.unknown_values(label_map.array)
    if unknown:
        raise CohortError(
            f"request {request.request_id}, {path}: label values {unknown} are not in the "
            f"control's scheme {dict(zip(model.scheme.names, model.scheme.values, strict=True))}."
        )
    scalars = {spec.name: raw_value(spec, row) for spec in model.prior.spec.scalars}
    return _Asked(request, row, label_map, scalars)


def _draw(asked: list[_Asked], *, plan: Plan, model: _Model, device: str) -> NDArray[np.float32]:
    """Return the images [B, X, Y, Z] of one micro-batch."""
    prior, control = model.prior, model.control
    maps = np.stack([one_hot(one.label_map.array, model.scheme) for one in asked])
    shape = prior.spec.latent_shape
    noise = torch.stack(
        [noise_of(one.request.request_id, cohort_seed=plan.seed, shape=shape) for one in asked]
    )
    context = Context(
        scalars=_scalars(asked, prior, device=device),
        encoded=control.encode(torch.from_numpy(maps).to(device)),
    )
    denoiser = control.steer(
        prior.denoiser, strength=plan.settings.strength, interval=plan.settings.interval
    )
    z_0 = sample(
        denoiser,
        noise.to(device),
        context,
        schedule=prior.schedule,
        timesteps=plan.timesteps,
        name=plan.settings.sampler.name,
    )
    images: NDArray[np.float32] = prior.decode(z_0)[:, 0].float().cpu().numpy()
    return images


def _scalars(asked: list[_Asked], prior: Prior, *, device: str) -> Tensor | None:
    """Return normalised scalars [B, S], or None for a prior without any."""
    vectors = [prior.scalar_vector(one.scalars) for one in asked]
    found = [vector for vector in vectors if vector is not None]
    return torch.stack(found).to(device) if found else None


def _write(
    one: _Asked,
    image: NDArray[np.float32],
    *,
    plan: Plan,
    layout: CohortLayout,
    task: ShardTask,
    micro_batch: int,
    seconds: float,
) -> ManifestRow:
    """Write image and label map of one request and return its row; NaN gives a failed row."""
    request_id = one.request.request_id
    reason = _reason(image)
    image_path, label_path = layout.image(request_id), layout.label(request_id)
    image_sha256 = label_sha256 = ""
    if not reason:
        label_sha256 = write_label_map(label_path, one.label_map)
        image_sha256 = write_image(image_path, Volume(image, one.label_map.affine))
    return ManifestRow(
        request_id=request_id,
        index=one.request.index,
        status="failed" if reason else "done",
        reason=reason,
        case_id=f"synthetic-{request_id}",
        subject_id=f"synthetic-{one.row['condition_id']}",
        image=str(image_path.relative_to(layout.folder)),
        label=str(label_path.relative_to(layout.folder)),
        image_sha256=image_sha256,
        label_sha256=label_sha256,
        condition_id=str(one.row["condition_id"]),
        condition_sha256=str(one.row["sha256"]),
        source_case_ids=str(one.row["source_case_ids"]),
        source_subject_ids=str(one.row["source_subject_ids"]),
        builder=str(one.row["builder"]),
        parameters=str(one.row["parameters"]),
        seed=str(plan.seed),
        scalars=stable_json(one.scalars),
        sampler=plan.settings.sampler.name,
        timesteps=json.dumps(plan.timesteps),
        strength=plan.settings.strength,
        interval=json.dumps(plan.settings.interval),
        prior_sha256=plan.prior_sha256,
        control_sha256=plan.control_sha256,
        micro_batch=micro_batch,
        shard=task.shard,
        device=task.device,
        seconds=round(seconds, 3),
        versions=stable_json(versions()),
    )


def _reason(image: NDArray[np.float32]) -> str:
    """Return why an image cannot be used, or nothing."""
    if not np.isfinite(image).all():
        return "the image holds NaN or infinity"
    return "the image is empty" if image.max() <= 0 else ""
