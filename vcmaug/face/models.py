"""`vcmaug.train_prior`, `vcmaug.train` and `vcmaug.load_control`: models in memory."""

from pathlib import Path
from typing import Any

import torch

from vcmaug.config import merged, parse_settings
from vcmaug.control.base import Control, rescaled, write_control
from vcmaug.control.base import load_control as load
from vcmaug.control.method import ControlMethod, control_method
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.cases import Cases
from vcmaug.face.conditions import folder_for
from vcmaug.ldm.prior import Prior, load_prior, write_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.progress import Report, silent
from vcmaug.training.control import train_control
from vcmaug.training.prior import PriorJob
from vcmaug.training.settings import ControlJob, ControlTraining, PriorTraining
from vcmaug.zoo import model_folder

__all__ = ["load_control", "train", "train_prior"]


def train_prior(
    cases: Cases,
    spec: PriorSpec,
    *,
    held_out: Cases | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    licence: str = "",
    report: Report = silent,
    **settings: Any,
) -> Prior:
    """Train a prior on images, without their labels, and return it.

    Args:
        cases: Training cases.
        spec: What to build.
        held_out: Validation cases, on which figures of the card are measured.
        seed: Of everything random.
        folder: Where it is kept, and gone on with; None: a temporary folder that lasts as long as
            this process.
        licence: SPDX expression for weights trained on this data, for the card.
        report: Told after every update.
        **settings: Of `PriorTraining`, such as `diffusion={"updates": 4000}`.

    Raises:
        ModelError: The images do not lie on the spec's grid.
    """
    place = folder_for(folder, name="prior")
    settings = merged(PriorTraining.of_grid(spec.grid), settings)
    chosen = parse_settings(PriorTraining, settings, source="the arguments of train_prior")
    job = PriorJob(
        cases=cases.cases,
        held_out=() if held_out is None else held_out.cases,
        spec=spec,
        settings=chosen,
        seed=seed,
        folder=place,
        about={"licence": licence},
        report=report,
    )
    write_prior(place, job.train(), half=chosen.half)
    return load_prior(place)


def train(
    method: ControlMethod | str,
    cases: Cases,
    *,
    prior: Prior,
    seed: int = 0,
    folder: Path | str | None = None,
    start_from: Path | str | None = None,
    shows: ChannelSettings | None = None,
    licence: str = "",
    report: Report = silent,
    **settings: Any,
) -> Control:
    """Train a control on a frozen prior and return it.

    Args:
        method: Such as `VCM()`, or its name.
        cases: Labelled training cases; the labels of exactly these are seen.
        prior: Frozen.
        seed: Of everything random.
        folder: Where the control is kept; a training that was stopped goes on there. None: a
            temporary folder that lasts as long as this process.
        start_from: A control on the same prior to start from: "zoo:NAME", or a folder.
        shows: Channels that it is shown; None: the label map alone.
        licence: SPDX expression for the weights, for the card.
        report: Told after every update.
        **settings: Of `ControlTraining`, such as `updates=1000`.

    Raises:
        LeakError: A subject of test or validation is among the cases.
        ModelError: `start_from` does not fit.
        RecipeError: A setting is unknown or wrong.
    """
    place = folder_for(folder, name="control")
    start = None if start_from is None else model_folder(start_from)
    settings = merged(ControlTraining.of_grid(prior.spec.grid), settings)
    chosen = parse_settings(ControlTraining, settings, source="the arguments of train")
    device = _device_of(prior)
    job = ControlJob(
        method=control_method(method),
        scheme=cases.scheme,
        shows=shows or ChannelSettings(),
        settings=chosen,
        seed=seed,
        forbidden=[subject for subject, role in cases.roles.items() if role != "train"],
        start_from=start,
        about={"licence": licence},
    )
    control = train_control(
        cases.cases, prior=rescaled(prior, start), job=job, folder=place, report=report
    )
    write_control(place, control, half=chosen.half)
    return load(place, prior=prior.to(device), device=device)  # training may have moved the prior


def load_control(source: Path | str, *, prior: Prior) -> Control:
    """Return a control, on the device of its prior.

    Args:
        source: "zoo:NAME", or a folder.
        prior: That it steers.

    Raises:
        ModelError: It was trained on another prior, or something is missing or damaged.
    """
    return load(model_folder(source), prior=prior, device=_device_of(prior))


def _device_of(prior: Prior) -> str:
    """Return the torch device of a prior."""
    parameter: torch.nn.Parameter = next(prior.autoencoder.parameters())
    return str(parameter.device)
