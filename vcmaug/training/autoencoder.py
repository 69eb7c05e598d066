"""Training of the autoencoder on images alone.

The first half of `train-prior`; labels are not needed.

References:
    Rombach et al. 2022, arXiv 2112.10752, without its adversarial and perceptual terms.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from vcmaug.affine import side_axis
from vcmaug.ldm.autoencoder import StemmedAutoencoder, volumes_at_once
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.texture import Texture
from vcmaug.progress import Report, silent
from vcmaug.seeding import stable_seed, torch_generator
from vcmaug.training.batches import draw_batch, flipped
from vcmaug.training.learner import seeded
from vcmaug.training.loop import Share, Trained, train
from vcmaug.training.losses import autoencoder_loss
from vcmaug.training.settings import AutoencoderTraining

__all__ = [
    "encode_all",
    "gradient_energy",
    "reconstructed",
    "reconstruction_figures",
    "train_autoencoder",
]


def train_autoencoder(
    images: Tensor,
    *,
    spec: PriorSpec,
    settings: AutoencoderTraining,
    seed: int,
    folder: Path,
    identity: object,
    report: Report = silent,
) -> tuple[StemmedAutoencoder, Trained]:
    """Return an autoencoder trained on images, and the record of it.

    Args:
        images: [N, C, X, Y, Z] in [0, 1].
        spec: Shapes of the networks.
        settings: Length, speed, weights of the losses.
        seed: Of initial weights, batches and posterior noise.
        folder: Of the prior; gets a checkpoint and a log.
        identity: See `loop.train`.
        report: Told after every step.
    """
    autoencoder = seeded(lambda: StemmedAutoencoder(spec), seed=stable_seed(seed, "autoencoder"))
    autoencoder.start_linear(images)
    latent = spec.latent_shape

    def objective(module: nn.Module, step: int, share: Share) -> tuple[Tensor, dict[str, float]]:
        chosen = draw_batch(len(images), batch_size=settings.batch_size, seed=seed, step=step)
        batch = images[chosen]  # [B, C, X, Y, Z]
        generator = torch_generator(seed, "autoencoder", step)
        if settings.flip and torch.rand((), generator=generator) < 0.5:
            batch = flipped(batch, axis=side_axis(spec.grid.orientation))
        noise = torch.randn((len(batch), *latent), generator=generator)
        device = next(module.parameters()).device
        batch = share.of(batch).to(device)
        reconstruction, mean, deviation = module(batch, share.of(noise).to(device))
        return autoencoder_loss(
            reconstruction,
            batch,
            mean=mean,
            deviation=deviation,
            kl_weight=settings.kl_weight,
            gradient_weight=settings.gradient_weight,
        )

    trained = train(
        autoencoder,
        objective,
        settings=settings,
        checkpoint=folder / ".checkpoints" / "autoencoder.pt",
        identity=identity,
        what="autoencoder",
        events=folder / "training" / "autoencoder",
        report=report,
    )
    autoencoder.load_state_dict(trained.weights)
    return autoencoder.eval().requires_grad_(False), trained


@torch.no_grad()
def encode_all(autoencoder: StemmedAutoencoder, images: Tensor) -> Tensor:
    """Return the posterior means [N, L, x, y, z] of images [N, C, X, Y, Z], on the CPU."""
    device = next(autoencoder.parameters()).device
    parts = images.split(volumes_at_once(images.shape[2:]))
    return torch.cat([autoencoder.encode(part.to(device))[0].cpu() for part in parts])


@torch.no_grad()
def reconstructed(autoencoder: StemmedAutoencoder, images: Tensor) -> Tensor:
    """Return decoded posterior means [N, C, X, Y, Z], not clipped, on the CPU."""
    device = next(autoencoder.parameters()).device
    parts = images.split(volumes_at_once(images.shape[2:]))
    return torch.cat([autoencoder.decode(autoencoder.encode(p.to(device))[0]).cpu() for p in parts])


def reconstruction_figures(
    autoencoder: StemmedAutoencoder, images: Tensor, *, texture: Texture | None = None
) -> dict[str, float]:
    """Return PSNR (dB) and the ratio of gradient energy, reconstructed over real.

    Args:
        autoencoder: Trained.
        images: [N, C, X, Y, Z] in [0, 1]; best ones that it was not trained on.
        texture: Of the prior, or None; it counts for the energy, not for the PSNR.
    """
    means = reconstructed(autoencoder, images)
    errors = ((means.clamp(0, 1) - images) ** 2).mean(dim=(1, 2, 3, 4))
    shown = means
    if texture is not None:
        shown = texture.add(means, torch.randn(means.shape, generator=torch_generator("texture")))
    real = gradient_energy(images).sum()
    figures = {
        "psnr_db": float(-10.0 * torch.log10(errors).mean()),
        "gradient_energy_ratio": float(gradient_energy(shown.clamp(0, 1)).sum() / real),
    }
    if texture is not None:
        ratio = gradient_energy(means.clamp(0, 1)).sum() / real
        figures["gradient_energy_ratio_without_texture"] = float(ratio)
    return figures


def gradient_energy(images: Tensor) -> Tensor:
    """Return the mean squared forward difference per image, [N]."""
    parts = [torch.diff(images, dim=axis).pow(2).mean(dim=(1, 2, 3, 4)) for axis in (2, 3, 4)]
    return torch.stack(parts).sum(dim=0)
