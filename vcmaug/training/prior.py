"""Training of a prior: the autoencoder, its latents, then the diffusion U-Net on them.

Prepared cases are read, labels not needed, never one of a test subject.

References:
    Rombach et al. 2022, arXiv 2112.10752; Ho et al. 2020, arXiv 2006.11239.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.affine import side_axis
from vcmaug.data.cases import Case
from vcmaug.data.scalars import median_fill, raw_value
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import Prior, new_prior
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.texture import Texture, measure_texture
from vcmaug.ldm.weights import hash_of_weights, read_weights, write_weights
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint, machine, versions
from vcmaug.seeding import stable_seed, torch_generator
from vcmaug.training.autoencoder import (
    encode_all,
    reconstructed,
    reconstruction_figures,
    train_autoencoder,
)
from vcmaug.training.batches import draw_batch, flipped
from vcmaug.training.cases import read_images, scalars_of
from vcmaug.training.deformed import with_deformed_copies
from vcmaug.training.ladder import rungs
from vcmaug.training.learner import seeded
from vcmaug.training.loop import Share, Trained, train, training_device
from vcmaug.training.settings import DeformSettings, DiffusionTraining, PriorTraining

__all__ = ["train_prior"]


@dataclass(frozen=True)
class _Latents:
    """Encoded cases: z [M, L, x, y, z], copies after the plain N, and scalars [M, S]."""

    z: Tensor
    scalars: Tensor | None


@dataclass(frozen=True)
class _Networks:
    """What training leaves of a prior, with the records of both trainings."""

    autoencoder: StemmedAutoencoder
    unet: ScalarUNet
    latent_scale: float
    fill: Mapping[str, float]
    mean: Tensor
    first: Trained
    second: Trained


def train_prior(
    cases: Sequence[Case],
    *,
    spec: PriorSpec,
    settings: PriorTraining,
    seed: int,
    folder: Path,
    held_out: Sequence[Case] = (),
    about: Mapping[str, Any] | None = None,
    report: Report = silent,
) -> Prior:
    """Return a trained prior; `ldm.prior.write_prior` writes it.

    Args:
        cases: Training cases; the caller has kept test subjects out.
        spec: What to build.
        settings: How to train it.
        seed: Of everything random.
        folder: Gets checkpoints, latents and a log, and resumes from them.
        held_out: Validation cases, on which figures are measured; may be empty.
        about: Written into the card: data, licence, command.
        report: Told after every update.

    Raises:
        ModelError: There is no case, or the images do not lie on the spec's grid.
    """
    images = _images_of(cases, spec)
    identity = {
        "cases": [case.case_id for case in cases],
        "seed": seed,
        "spec": spec.model_dump(mode="json", include={"grid", "image_channels", "autoencoder"}),
        "settings": settings.autoencoder.model_dump(mode="json"),
    }
    autoencoder, first = train_autoencoder(
        images,
        spec=spec,
        settings=settings.autoencoder,
        seed=seed,
        folder=folder,
        identity=identity,
        report=report,
    )
    means = _cached_latents(
        autoencoder,
        images,
        cases=cases,
        spec=spec,
        settings=settings.diffusion,
        seed=seed,
        folder=folder,
    )
    latent_scale = spec.latent_scale or float(1.0 / means.std())
    fill = median_fill(spec.scalars, [case.columns for case in cases])
    latents = _Latents(
        means * latent_scale, _every_scalar(cases, spec, settings.diffusion, fill=fill)
    )
    unet, second = _train_unet(
        latents,
        spec=spec,
        settings=settings.diffusion,
        seed=seed,
        folder=folder,
        identity=[identity, spec.model_dump(mode="json"), settings.model_dump(mode="json")],
        report=report,
    )
    mean = latents.z[: len(cases)].mean(dim=0)
    made = _Networks(autoencoder, unet, latent_scale, fill, mean, first, second)
    texture = None
    if settings.texture:
        texture = measure_texture(images, reconstructed(autoencoder, images))
    about = {"seed": seed, "training": settings.model_dump(mode="json"), **(about or {})}
    about["figures"] = _figures(made, cases, held_out, spec=spec, texture=texture)
    prior = _prior_of(made, cases, spec=spec, texture=texture, half=settings.half, about=about)
    return prior.to(training_device())


def _prior_of(
    made: _Networks,
    cases: Sequence[Case],
    *,
    spec: PriorSpec,
    texture: Texture | None,
    half: bool,
    about: Mapping[str, Any],
) -> Prior:
    """Return trained networks as a prior with its card."""
    return new_prior(
        spec=spec,
        autoencoder=made.autoencoder,
        unet=made.unet,
        latent_scale=made.latent_scale,
        texture=texture,
        mean=made.mean,
        half=half,
        seen=_seen(cases, spec),
        scalar_fill=made.fill,
        log={"autoencoder": made.first.log, "diffusion": made.second.log},
        versions=versions(),
        machine=machine(),
        **about,
    )


def _images_of(cases: Sequence[Case], spec: PriorSpec) -> Tensor:
    """Return the images of cases, which must lie on the spec's grid."""
    if not cases:
        raise ModelError("training a prior: no training case. Look at the split file.")
    images = read_images(cases)
    if tuple(images.shape[2:]) != tuple(spec.grid.shape):
        raise ModelError(
            f"training prior {spec.name!r}: the prepared images have shape "
            f"{tuple(images.shape[2:])}, the prior's grid is {tuple(spec.grid.shape)}. Run "
            "`vcmaug prepare` with the recipe's grid."
        )
    return images


def _every_scalar(
    cases: Sequence[Case],
    spec: PriorSpec,
    settings: DiffusionTraining,
    *,
    fill: Mapping[str, float],
) -> Tensor | None:
    """Return the scalars of cases, of their deformed copies and of all of them mirrored."""
    return scalars_of(
        [case.columns for case in cases] * (1 + settings.deformed_copies),
        spec,
        fill=fill,
        and_mirrored=settings.flip,
    )


def _seen(cases: Sequence[Case], spec: PriorSpec) -> Seen:
    """Return whose images a prior sees, and whose label maps through scalars measured on them."""
    measured = [scalar for scalar in spec.scalars if scalar.structures]
    through_labels = {
        case.subject_id
        for case in cases
        if any(raw_value(scalar, case.columns) is not None for scalar in measured)
    }
    return Seen(
        images=tuple(sorted({case.subject_id for case in cases})),
        label_scalars=tuple(sorted(through_labels)),
    )


def _figures(
    made: _Networks,
    cases: Sequence[Case],
    held_out: Sequence[Case],
    *,
    spec: PriorSpec,
    texture: Texture | None,
) -> dict[str, float]:
    """Return what is measured of a trained prior, on held-out cases where there are any."""
    figures = reconstruction_figures(
        made.autoencoder, read_images(held_out or cases), texture=texture
    )
    figures |= {
        "diffusion_loss": made.second.log[-1]["loss"] if made.second.log else float("nan"),
        "autoencoder_seconds": made.first.seconds,
        "diffusion_seconds": made.second.seconds,
    }
    for name, some in (("training", cases), ("held_out", held_out)):
        if some:  # under the same draws of noise and time, so that the two can be compared
            z = encode_all(made.autoencoder, read_images(some)) * made.latent_scale
            scalars = scalars_of([case.columns for case in some], spec, fill=made.fill)
            loss = _denoising_loss(made.unet, _Latents(z, scalars), spec=spec)
            figures[f"diffusion_loss_{name}"] = loss
    return figures | {"figures_on_held_out_cases": bool(held_out)}


def _cached_latents(
    autoencoder: StemmedAutoencoder,
    images: Tensor,
    *,
    cases: Sequence[Case],
    spec: PriorSpec,
    settings: DiffusionTraining,
    seed: int,
    folder: Path,
) -> Tensor:
    """Return posterior means [M, L, x, y, z], encoded once, kept beside checkpoints.

    Rows are whole rounds of the cases: plain, deformed copies, then all of them mirrored.
    """
    names = [case.case_id for case in cases]
    deformation = settings.model_dump(include={*DeformSettings.model_fields, "flip"})
    weights = hash_of_weights(autoencoder.state_dict())
    path = (
        folder
        / ".checkpoints"
        / f"latents-{fingerprint([weights, names, deformation, seed])}.safetensors"
    )
    if path.exists():
        return read_weights(path)["means"]
    everything = with_deformed_copies(
        images, names, settings=settings, spacing_mm=spec.grid.spacing_mm, seed=seed
    )
    means = encode_all(autoencoder, everything)
    if settings.flip:
        turned_round = flipped(everything, axis=side_axis(spec.grid.orientation))
        means = torch.cat([means, encode_all(autoencoder, turned_round)])
    write_weights(path, {"means": means})
    return means


def _train_unet(
    latents: _Latents,
    *,
    spec: PriorSpec,
    settings: DiffusionTraining,
    seed: int,
    folder: Path,
    identity: object,
    report: Report,
) -> tuple[ScalarUNet, Trained]:
    """Return the diffusion U-Net trained to predict epsilon, and the record of it."""
    unet = seeded(lambda: ScalarUNet(spec), seed=stable_seed(seed, "diffusion"))
    schedule = Schedule(spec.schedule)

    def objective(module: nn.Module, step: int, share: Share) -> tuple[Tensor, dict[str, float]]:
        device = next(module.parameters()).device
        chosen = draw_batch(len(latents.z), batch_size=settings.batch_size, seed=seed, step=step)
        generator = torch_generator(seed, "diffusion", step)
        z_0 = latents.z[chosen]  # [B, L, x, y, z]
        t = torch.randint(schedule.num_timesteps, (len(z_0),), generator=generator)
        epsilon = torch.randn(z_0.shape, generator=generator)
        z_0, t, epsilon, chosen = (share.of(one) for one in (z_0, t, epsilon, chosen))
        z_t = schedule.add_noise(z_0, epsilon, t).to(device)
        scalars = None
        if latents.scalars is not None:
            scalars = latents.scalars[chosen].to(device)
        prediction = module(z_t, t.to(device), scalars)
        return functional.mse_loss(prediction, epsilon.to(device)), {}

    trained = train(
        unet,
        objective,
        settings=settings,
        checkpoint=folder / ".checkpoints" / "diffusion.pt",
        identity=identity,
        what="diffusion U-Net",
        events=folder / "training" / "diffusion",
        report=report,
    )
    unet.load_state_dict(trained.weights)
    return unet, trained


@torch.no_grad()
def _denoising_loss(unet: ScalarUNet, latents: _Latents, *, spec: PriorSpec) -> float:
    """Return the mean squared error of epsilon over latents and a fixed ladder of timesteps."""
    schedule = Schedule(spec.schedule)
    device = next(unet.parameters()).device
    unet.eval()
    losses = []
    for rung in rungs(latents.z, last=schedule.num_timesteps):
        t = torch.full((len(latents.z),), rung.t)
        z_t = schedule.add_noise(latents.z, rung.epsilon, t).to(device)
        scalars = None if latents.scalars is None else latents.scalars.to(device)
        prediction = unet(z_t, t.to(device), scalars).cpu()
        losses.append(float(functional.mse_loss(prediction, rung.epsilon)))
    return sum(losses) / len(losses)
