"""Training of the autoencoder on images alone.

What it is: one objective, and what is measured of the result.
In the flow: the first half of `train-prior`; labels are not needed.
Sources: Rombach et al. 2022, arXiv 2112.10752, without its perceptual term; Isola et al. 2017,
arXiv 1611.07004 (a discriminator of patches).
"""

from pathlib import Path

import torch
from monai.networks.nets import PatchDiscriminator
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.spec import PriorSpec
from vcmaug.progress import Report, silent
from vcmaug.seeding import torch_generator
from vcmaug.training.batches import draw_batch, flipped
from vcmaug.training.loop import Trained, TrainingSettings, train
from vcmaug.training.losses import adversarial_loss, autoencoder_loss

__all__ = ["AutoencoderTraining", "encode_all", "reconstruction_figures", "train_autoencoder"]


class AutoencoderTraining(TrainingSettings):
    """How to train the autoencoder."""

    learning_rate: float = Field(1e-3, gt=0)
    kl_weight: float = Field(1e-4, ge=0)
    gradient_weight: float = Field(0.5, ge=0)
    flip: bool = Field(True, description="mirror half of the images left to right")
    adversarial_weight: float = Field(
        0.0, ge=0, description="of a patch discriminator, which brings back texture; 0: none"
    )
    adversarial_from: float = Field(
        0.25, ge=0, le=1, description="share of the updates after which the discriminator acts"
    )


class _WithAdversary(nn.Module):
    """An autoencoder and its discriminator as one module, trained by one optimiser."""

    def __init__(self, autoencoder: StemmedAutoencoder, *, image_channels: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.discriminator = PatchDiscriminator(
            spatial_dims=3,
            channels=32,
            in_channels=image_channels,
            num_layers_d=2,
            norm="INSTANCE",
        )

    def forward(
        self, images: Tensor, noise: Tensor, *, judge: bool
    ) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        """Return what the autoencoder returns, and the logits of `adversarial_loss` by name."""
        made = self.autoencoder(images, noise)
        if not judge:
            return made, {}
        fixed = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        return made, {
            "real": self.discriminator(images)[-1],
            "fake": self.discriminator(made[0].detach())[-1],
            "fooled": functional_call(self.discriminator, fixed, (made[0],))[-1],
        }


def train_autoencoder(
    images: Tensor,
    *,
    spec: PriorSpec,
    settings: AutoencoderTraining,
    seed: int,
    checkpoint: Path,
    identity: object,
    report: Report = silent,
) -> tuple[StemmedAutoencoder, Trained]:
    """Return an autoencoder trained on images, and the record of it.

    Args:
        images: [N, C, X, Y, Z] in [0, 1].
        spec: Shapes of the networks.
        settings: Length, speed, weights of the losses.
        seed: Of initial weights, batches and posterior noise.
        checkpoint: See `loop.train`.
        identity: See `loop.train`.
        report: Told after every step.
    """
    torch.manual_seed(torch_generator(seed, "autoencoder").initial_seed())
    pair = _WithAdversary(spec.build_autoencoder(), image_channels=spec.image_channels)
    latent = spec.latent_shape
    start = settings.adversarial_from * settings.updates

    def objective(module: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        chosen = draw_batch(len(images), batch_size=settings.batch_size, seed=seed, step=step)
        batch = images[chosen]  # [B, C, X, Y, Z]
        generator = torch_generator(seed, "autoencoder", step)
        if settings.flip and torch.rand((), generator=generator) < 0.5:
            batch = flipped(batch)
        noise = torch.randn((len(batch), *latent), generator=generator)
        device = next(module.parameters()).device
        batch = batch.to(device)
        judge = settings.adversarial_weight > 0 and step >= start
        (reconstruction, mean, deviation), logits = module(batch, noise.to(device), judge=judge)
        loss, parts = autoencoder_loss(
            reconstruction,
            batch,
            mean=mean,
            deviation=deviation,
            kl_weight=settings.kl_weight,
            gradient_weight=settings.gradient_weight,
        )
        if not judge:
            return loss, parts
        against, more = adversarial_loss(**logits, weight=settings.adversarial_weight)
        return loss + against, parts | more

    trained = train(
        pair,
        objective,
        settings=settings,
        checkpoint=checkpoint,
        identity=identity,
        what="autoencoder",
        report=report,
    )
    pair.load_state_dict(trained.weights)
    return pair.autoencoder.eval().requires_grad_(False), trained


@torch.no_grad()
def encode_all(autoencoder: StemmedAutoencoder, images: Tensor, *, batch_size: int = 8) -> Tensor:
    """Return the posterior means [N, L, x, y, z] of images [N, C, X, Y, Z], on the CPU."""
    device = next(autoencoder.parameters()).device
    means = [autoencoder.encode(part.to(device))[0].cpu() for part in images.split(batch_size)]
    return torch.cat(means)


@torch.no_grad()
def reconstruction_figures(autoencoder: StemmedAutoencoder, images: Tensor) -> dict[str, float]:
    """Return PSNR (dB) and the ratio of gradient energy, reconstructed over real.

    Args:
        autoencoder: Trained.
        images: [N, C, X, Y, Z] in [0, 1]; best ones that it was not trained on.
    """
    device = next(autoencoder.parameters()).device
    errors, energy, real_energy = [], [], []
    for part in images.split(8):
        decoded = autoencoder.decode(autoencoder.encode(part.to(device))[0]).clamp(0, 1).cpu()
        errors.append(((decoded - part) ** 2).mean(dim=(1, 2, 3, 4)))
        energy.append(_gradient_energy(decoded))
        real_energy.append(_gradient_energy(part))
    psnr = -10.0 * torch.log10(torch.cat(errors)).mean()
    ratio = torch.cat(energy).sum() / torch.cat(real_energy).sum()
    return {"psnr_db": float(psnr), "gradient_energy_ratio": float(ratio)}


def _gradient_energy(images: Tensor) -> Tensor:
    """Return the mean squared forward difference per image, [N]."""
    parts = [torch.diff(images, dim=axis).pow(2).mean(dim=(1, 2, 3, 4)) for axis in (2, 3, 4)]
    return torch.stack(parts).sum(dim=0)
