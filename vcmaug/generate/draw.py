"""One micro-batch: from what its requests ask for to its images, in memory.

What it is: the model of a plan, a request with its condition, and the draw itself.
In the flow: called by the worker, which does the writing.
Sources: none beyond the prior's, the control's and the sampler's own.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcmaug.conditions.replay import channel_arrays, map_bytes
from vcmaug.conditions.table import read_conditions
from vcmaug.control.base import Control
from vcmaug.control.build import load_control
from vcmaug.control.channels import shown_of
from vcmaug.control.shown import ALONE, is_any_shown
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import label_map_in
from vcmaug.data.scalars import asked_value
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError, DataError, list_faults
from vcmaug.files import sha256_of_file
from vcmaug.generate.gate import Measure, load_measure
from vcmaug.generate.noise import noise_of
from vcmaug.generate.plan import GenerateSettings, Plan, Request
from vcmaug.generate.samplers import sample
from vcmaug.ldm.autoencoder import volumes_at_once
from vcmaug.ldm.denoiser import Context, Denoiser
from vcmaug.ldm.prior import Prior, load_prior

__all__ = ["Asked", "Clock", "Model", "draw_images", "load_model", "read_asked", "row_of"]


@dataclass(frozen=True)
class Model:
    """What a worker keeps between shards."""

    prior: Prior
    control: Control
    scheme: LabelScheme
    conditions: pd.DataFrame
    measure: Measure | None = None


class Clock:
    """Seconds by phase, of a device that may lag behind."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str, *, beside: bool = False) -> Iterator[None]:
        """Count the time that is spent within; work beside the device does not wait for it."""
        began = time.perf_counter()
        yield
        if self.device.startswith("cuda") and not beside:
            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - began


@dataclass(frozen=True)
class Asked:
    """One request with what it asks for.

    Attributes:
        request: Which.
        row: Of its condition.
        label_map: The condition's map, on the prior's grid.
        label_file: The map's file, byte by byte; it becomes the label of the case.
        scalars: Raw values by name; None is missing.
        channels: Further volumes that the control is shown, by name.
        presence: Which channels are shown; empty: the label map and all there are.
    """

    request: Request
    row: Mapping[str, Any]
    label_map: Volume
    label_file: bytes
    scalars: Mapping[str, float | None]
    channels: Mapping[str, Volume]
    presence: Mapping[str, bool]


def load_model(plan: Plan, *, device: str) -> Model:
    """Return the model of a plan from disk.

    Raises:
        CohortError: Prior, control or conditions are no longer those of the plan.
    """
    prior = load_prior(Path(plan.prior_folder), device=device)
    control = load_control(Path(plan.control_folder), prior=prior, device=device)
    conditions = Path(plan.conditions_folder)
    table = conditions / "conditions.parquet"
    found = {
        plan.prior_folder: (prior.card["weights_sha256"], plan.prior_sha256),
        plan.control_folder: (control.card["weights_sha256"], plan.control_sha256),
        str(table): (
            sha256_of_file(table) if table.exists() else "no file",
            plan.conditions_sha256,
        ),
    }
    faults = [
        f"{place}: found {is_now[:12]}, the plan was made with {planned[:12]}"
        for place, (is_now, planned) in found.items()
        if is_now != planned
    ]
    if faults:
        raise CohortError(
            list_faults(
                "loading what a plan needs",
                faults,
                advice="Restore it, or move the cohort's folder away and draw anew.",
            )
        )
    scheme = LabelScheme.from_json(control.card["scheme"])
    scale = float(control.card.get("latent_scale", prior.latent_scale))
    measure = load_measure(plan.measure) if plan.measure is not None else None
    own_scale = replace(prior, latent_scale=scale)
    return Model(own_scale, control, scheme, read_conditions(conditions), measure)


def read_asked(request: Request, *, plan: Plan, model: Model) -> Asked:
    """Return a request with its condition's map and scalars.

    Raises:
        CohortError: The map is missing, changed after the conditions were built, or does not fit
            the prior's grid or the control's scheme.
    """
    row = row_of(request, model)
    label_file = _label_file(request, row, Path(plan.conditions_folder))
    label_map = label_map_in(label_file)
    faults = _misfits(label_map, model)
    if faults:
        raise CohortError(
            list_faults(f"request {request.request_id}, condition {row['condition_id']}", faults)
        )
    scalars = {spec.name: asked_value(spec, row) for spec in model.prior.spec.scalars}
    alone = model.control.shows.names == ALONE
    arrays = {} if alone else channel_arrays(Path(plan.conditions_folder), row)
    channels = {name: Volume(array, label_map.affine) for name, array in arrays.items()}
    presence = json.loads(row.get("presence") or "{}")
    return Asked(request, row, label_map, label_file, scalars, channels, presence)


def row_of(request: Request, model: Model) -> dict[str, Any]:
    """Return the row of a request's condition."""
    return {str(k): v for k, v in model.conditions.iloc[request.condition].to_dict().items()}


def _label_file(request: Request, row: Mapping[str, Any], folder: Path) -> bytes:
    """Return the file of a request's map."""
    try:
        return map_bytes(folder, row)
    except DataError as fault:
        raise CohortError(f"request {request.request_id}, {fault}") from None


def _misfits(label_map: Volume, model: Model) -> list[str]:
    """Return why prior and control cannot draw for a map."""
    grid, faults = model.prior.spec.grid, []
    if label_map.shape != tuple(grid.shape):
        faults.append(f"the map has shape {label_map.shape}, the prior draws {tuple(grid.shape)}")
    if not np.allclose(label_map.spacing_mm, grid.spacing_mm, atol=1e-3):
        faults.append(
            f"its voxels are {label_map.spacing_mm} mm, the prior's {tuple(grid.spacing_mm)} mm"
        )
    unknown = model.scheme.unknown_values(label_map.array)
    if unknown:
        known = dict(zip(model.scheme.names, model.scheme.values, strict=True))
        faults.append(f"label values {unknown} are not in the control's scheme {known}")
    return faults


def draw_images(
    asked: Sequence[Asked],
    *,
    plan: Plan,
    model: Model,
    device: str,
    number: int = 0,
    clock: Clock | None = None,
) -> NDArray[np.float32]:
    """Return the images, float32 [B, X, Y, Z] in [0, 1] or NaN, of one micro-batch.

    Args:
        asked: All requests of the micro-batch, in order: the batch size is part of the result.
        plan: Timesteps, strength, seed.
        model: On `device`.
        device: A torch device.
        number: Which try, from 0; each has noise of its own.
        clock: Told how long encoding, sampling and decoding take.
    """
    prior, control, settings = model.prior, model.control, plan.settings
    clock = clock or Clock(device)
    shape = prior.spec.latent_shape

    def noise(purpose: str) -> Tensor:
        return _stacked_noise(asked, plan, shape, purpose=purpose, number=number).to(device)

    with clock.phase("encode"):
        encoded = control.encode(
            shown_of(asked, shows=control.shows, scheme=model.scheme).to(device)
        )
    there = _there(asked, model, device=device)
    context = Context(_scalars(asked, prior, device=device), encoded, there)
    with clock.phase("sample"):
        steered = control.steer(
            prior.denoiser, strength=settings.strength, interval=settings.interval
        )
        z_0 = sample(
            _in_precision(steered, settings.precision),
            noise("noise"),
            context,
            schedule=prior.schedule,
            timesteps=plan.timesteps,
            name=settings.sampler.name,
            mean=_start(model, context, settings),
            fresh=lambda step: noise(f"step {step}"),
        )
    with clock.phase("decode"):
        texture = _texture(asked, plan, prior, number=number, device=device)
        return _decoded(prior, z_0, texture)


def _decoded(prior: Prior, z_0: Tensor, texture: Tensor | None) -> NDArray[np.float32]:
    """Return the images [B, X, Y, Z] of latents, as many at once as the prior's grid lets pass."""
    batches = z_0.split(volumes_at_once(prior.spec.grid.shape))
    textures = [None] * len(batches) if texture is None else texture.split(len(batches[0]))
    parts = [prior.decode(z, t) for z, t in zip(batches, textures, strict=True)]
    images: NDArray[np.float32] = torch.cat([part[:, 0].float().cpu() for part in parts]).numpy()
    return images


def _in_precision(denoiser: Denoiser, precision: str) -> Denoiser:
    """Return a denoiser whose networks compute in a precision; what it returns is float32."""
    if precision == "float32":
        return denoiser
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}[precision]

    def predicted(z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        with torch.autocast(z_t.device.type, dtype):
            return denoiser(z_t, t, context).float()

    return predicted


def _there(asked: Sequence[Asked], model: Model, *, device: str) -> Tensor | None:
    """Return which requests show the control anything, bool [B], or None where all do."""
    names = model.control.shows.names
    there = [is_any_shown(one.channels, one.presence, names) for one in asked]
    return None if all(there) else torch.tensor(there, device=device)


def _start(model: Model, context: Context, settings: GenerateSettings) -> Tensor | None:
    """Return the latents where draws start, or None for noise.

    Those that the condition lets one expect, if the control knows them; the prior's mean at
    strength 0 and where nothing is shown, so that the control has no part in the draw. A prior that
    knows no mean stands for zero where a draw starts within the schedule, else for noise.
    """
    mean, encoded = model.prior.mean, context.encoded
    expected = None if encoded is None else model.control.expected(encoded)
    if expected is None or (mean is None and settings.sampler.start == 1.0):
        return mean
    middle = torch.zeros_like(expected) if mean is None else mean
    if context.there is not None:
        expected = torch.where(context.there[:, None, None, None, None], expected, middle)
    return middle + min(settings.strength, 1.0) * (expected - middle)


def _texture(
    asked: Sequence[Asked], plan: Plan, prior: Prior, *, number: int, device: str
) -> Tensor | None:
    """Return the noise of the texture [B, C, X, Y, Z], or None for a prior without one."""
    if prior.texture is None:
        return None
    shape = (prior.spec.image_channels, *prior.spec.grid.shape)
    return _stacked_noise(asked, plan, shape, purpose="texture", number=number).to(device)


def _stacked_noise(
    asked: Sequence[Asked], plan: Plan, shape: tuple[int, ...], *, purpose: str, number: int
) -> Tensor:
    """Return the noise of all requests, [B, *shape], on the CPU."""
    own = f"{purpose}, try {number}" if number else purpose
    return torch.stack(
        [
            noise_of(one.request.request_id, cohort_seed=plan.seed, shape=shape, purpose=own)
            for one in asked
        ]
    )


def _scalars(asked: Sequence[Asked], prior: Prior, *, device: str) -> Tensor | None:
    """Return normalised scalars [B, S], or None for a prior without any."""
    vectors = [prior.scalar_vector(one.scalars) for one in asked]
    found = [vector for vector in vectors if vector is not None]
    return torch.stack(found).to(device) if found else None
