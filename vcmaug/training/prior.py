"""Training of a prior: the autoencoder, its latents, then the diffusion U-Net on them.

What it is: `train_prior`, which leaves a folder that `ldm.prior.load_prior` reads.
In the flow: reads prepared cases (labels not needed), never one of a test subject.
Sources: Rombach et al. 2022, arXiv 2112.10752; Ho et al. 2020, arXiv 2006.11239.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vcmaug.affine import side_axis
from vcmaug.config import Settings
from vcmaug.data.cases import Case
from vcmaug.data.scalars import median_fill
from vcmaug.errors import ModelError
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import write_prior
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.texture import measure_texture
from vcmaug.ldm.weights import hash_of_weights, read_weights, write_weights
from vcmaug.progress import Report, silent
from vcmaug.provenance import fingerprint, machine, versions
from vcmaug.seeding import torch_generator
from vcmaug.training.autoencoder import (
    AutoencoderTraining,
    encode_all,
    reconstructed,
    reconstruction_figures,
    train_autoencoder,
)
from vcmaug.training.batches import draw_batch, flipped, read_images, scalars_of
from vcmaug.training.bent import BendSettings, bent_images
from vcmaug.training.loop import Share, Trained, TrainingSettings, train

__all__ = ["DiffusionTraining", "PriorTraining", "train_prior"]

_RUNGS = 10  # timesteps at which the losses of the card are measured


class DiffusionTraining(TrainingSettings, BendSettings):
    """How to train the diffusion U-Net; bent copies of the images are encoded too."""

    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(3e-4, gt=0)
    flip: bool = Field(True, description="mirrored images are encoded too")


class PriorTraining(Settings):
    """How to train a prior."""

    autoencoder: AutoencoderTraining = AutoencoderTraining()
    diffusion: DiffusionTraining = DiffusionTraining()
    texture: bool = Field(
        False, description="measure what the decoder leaves out, and add such texture to every draw"
    )
    half: bool = Field(False, description="store the weights in half precision")


@dataclass(frozen=True)
class _Latents:
    """Encoded cases: z [M, L, x, y, z], copies after the plain N, and scalars [M, S]."""

    z: Tensor
    scalars: Tensor | None


def train_prior(
    cases: Sequence[Case],
    *,
    held_out: Sequence[Case],
    spec: PriorSpec,
    settings: PriorTraining,
    seed: int,
    folder: Path,
    about: Mapping[str, Any],
    report: Report = silent,
) -> None:
    """Train a prior and leave it in a folder.

    Args:
        cases: Training cases; the caller has kept test subjects out.
        held_out: Validation cases, on which figures are measured; may be empty.
        spec: What to build.
        settings: How to train it.
        seed: Of everything random.
        folder: Gets `prior.safetensors`, `card.json`, and `.checkpoints/`.
        about: Written into the card: data, licence, command.
        report: Told after every update.

    Raises:
        ModelError: There is no case, or the images do not lie on the spec's grid.
    """
    if not cases:
        raise ModelError("training a prior: no training case. Look at the split file.")
    images = read_images(cases)
    if tuple(images.shape[2:]) != tuple(spec.grid.shape):
        raise ModelError(
            f"training prior {spec.name!r}: the prepared images have shape "
            f"{tuple(images.shape[2:])}, the prior's grid is {tuple(spec.grid.shape)}. Run "
            "`vcmaug prepare` with the recipe's grid."
        )
    seen = {"cases": [case.case_id for case in cases], "seed": seed}
    first_identity = seen | {
        "spec": spec.model_dump(mode="json", include={"grid", "image_channels", "autoencoder"}),
        "settings": settings.autoencoder.model_dump(mode="json"),
    }
    checkpoints = folder / ".checkpoints"
    autoencoder, first = train_autoencoder(
        images,
        spec=spec,
        settings=settings.autoencoder,
        seed=seed,
        checkpoint=checkpoints / "autoencoder.pt",
        identity=first_identity,
        report=report,
    )
    fill = median_fill(spec.scalars, [case.row for case in cases])
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
    scalars = scalars_of(
        [case.row for case in cases] * (1 + settings.diffusion.deformed_copies),
        spec,
        fill=fill,
        and_mirrored=settings.diffusion.flip,
    )
    latents = _Latents(means * latent_scale, scalars)
    unet, second = _train_unet(
        latents,
        spec=spec,
        settings=settings.diffusion,
        seed=seed,
        checkpoint=checkpoints / "diffusion.pt",
        identity=[first_identity, spec.model_dump(mode="json"), settings.model_dump(mode="json")],
        report=report,
    )
    texture = None
    if settings.texture:
        texture = measure_texture(images, reconstructed(autoencoder, images))
    shown = held_out or cases
    figures = reconstruction_figures(autoencoder, read_images(shown), texture=texture)
    figures |= {
        "diffusion_loss": second.log[-1]["loss"] if second.log else float("nan"),
        "autoencoder_seconds": first.seconds,
        "diffusion_seconds": second.seconds,
    }
    for name, some in (("training", cases), ("held_out", held_out)):
        if some:  # under the same draws of noise and time, so that the two can be compared
            z = encode_all(autoencoder, read_images(some)) * latent_scale
            few = _Latents(z, scalars_of([case.row for case in some], spec, fill=fill))
            figures[f"diffusion_loss_{name}"] = denoising_loss(unet, few, spec=spec)
    write_prior(
        folder,
        spec=spec,
        autoencoder=autoencoder,
        texture=texture,
        mean=latents.z[: len(cases)].mean(dim=0),
        unet=unet,
        latent_scale=latent_scale,
        half=settings.half,
        card={
            "subjects": sorted({case.subject_id for case in cases}),
            "scalar_fill": fill,
            "training": settings.model_dump(mode="json"),
            "seed": seed,
            "figures": figures | {"figures_on_held_out_cases": bool(held_out)},
            "log": {"autoencoder": first.log, "diffusion": second.log},
            "versions": versions(),
            "machine": machine(),
            **about,
        },
    )


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

    Rows are whole rounds of the cases: plain, bent copies, then all of them mirrored.
    """
    names = [case.case_id for case in cases]
    bend = settings.model_dump(include={*BendSettings.model_fields, "flip"})
    weights = hash_of_weights(autoencoder.state_dict())
    path = (
        folder / ".checkpoints" / f"latents-{fingerprint([weights, names, bend, seed])}.safetensors"
    )
    if path.exists():
        return read_weights(path)["means"]
    everything = bent_images(
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
    checkpoint: Path,
    identity: object,
    report: Report,
) -> tuple[ScalarUNet, Trained]:
    """Return the diffusion U-Net trained to predict epsilon, and the record of it."""
    torch.manual_seed(torch_generator(seed, "diffusion").initial_seed())
    unet = spec.build_unet()
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
        checkpoint=checkpoint,
        identity=identity,
        what="diffusion U-Net",
        events=checkpoint.parent.parent / "training" / "diffusion",
        report=report,
    )
    unet.load_state_dict(trained.weights)
    return unet, trained


@torch.no_grad()
def denoising_loss(unet: ScalarUNet, latents: _Latents, *, spec: PriorSpec) -> float:
    """Return the mean squared error of epsilon over latents and a fixed ladder of timesteps."""
    schedule = Schedule(spec.schedule)
    device = next(unet.parameters()).device
    unet.eval()
    losses = []
    for rung in range(_RUNGS):
        t = torch.full((len(latents.z),), (2 * rung + 1) * schedule.num_timesteps // (2 * _RUNGS))
        epsilon = torch.randn(latents.z.shape, generator=torch_generator("ladder", rung))
        z_t = schedule.add_noise(latents.z, epsilon, t).to(device)
        scalars = None if latents.scalars is None else latents.scalars.to(device)
        prediction = unet(z_t, t.to(device), scalars).cpu()
        losses.append(float(functional.mse_loss(prediction, epsilon)))
    return sum(losses) / len(losses)
