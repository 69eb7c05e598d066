"""The autoencoder in training: its losses, encoding in parts, and what reconstructions keep.

References:
    Kingma and Welling 2014, arXiv 1312.6114, appendix B (KL); Rombach et al. 2022, arXiv
    2112.10752, without its adversarial and perceptual terms.
"""

import torch
from torch import Tensor
from torch.nn import functional

from vcmaug.ldm.autoencoder import Reconstruction, StemmedAutoencoder, volumes_at_once
from vcmaug.ldm.texture import Texture
from vcmaug.seeding import torch_generator
from vcmaug.training.settings import AutoencoderTraining

__all__ = [
    "autoencoder_loss",
    "encode_all",
    "gradient_energy",
    "gradient_loss",
    "kl_loss",
    "reconstructed",
    "reconstruction_figures",
]


def autoencoder_loss(
    found: Reconstruction, images: Tensor, *, settings: AutoencoderTraining
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of reconstructions of images [B, C, X, Y, Z], and its parts as numbers.

    With a foreground head the image counts where it is not 0, and the head everywhere.
    """
    decoded, parts = found.images, {}
    loss = torch.zeros((), device=images.device)
    if found.shown is not None:
        shown = (images > 0).any(dim=1, keepdim=True).float()  # [B, 1, X, Y, Z]
        decoded = decoded * shown
        foreground = functional.binary_cross_entropy_with_logits(found.shown.float(), shown)
        loss = settings.foreground_weight * foreground
        parts["shown"] = foreground.item()
    l1, gradient = functional.l1_loss(decoded, images), gradient_loss(decoded, images)
    kl = kl_loss(found.mean, found.deviation)
    loss = loss + l1 + settings.gradient_weight * gradient + settings.kl_weight * kl
    return loss, {"l1": l1.item(), "gradient": gradient.item(), "kl": kl.item(), **parts}


def kl_loss(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return the mean KL divergence of N(mean, deviation^2) from N(0, 1), per latent element."""
    variance = deviation**2
    return 0.5 * (mean**2 + variance - 1.0 - torch.log(variance + 1e-12)).mean()


def gradient_loss(images: Tensor, targets: Tensor) -> Tensor:
    """Return the mean absolute difference of forward differences along X, Y and Z.

    Args:
        images: [B, C, X, Y, Z].
        targets: Likewise.
    """
    per_axis = [
        (torch.diff(images, dim=axis) - torch.diff(targets, dim=axis)).abs().mean()
        for axis in (2, 3, 4)
    ]
    return torch.stack(per_axis).mean()


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
    drawn = means
    if texture is not None:
        drawn = texture.add(means, torch.randn(means.shape, generator=torch_generator("texture")))
    real = gradient_energy(images).sum()
    figures = {
        "psnr_db": float(-10.0 * torch.log10(errors).mean()),
        "gradient_energy_ratio": float(gradient_energy(drawn.clamp(0, 1)).sum() / real),
    }
    if texture is not None:
        ratio = gradient_energy(means.clamp(0, 1)).sum() / real
        figures["gradient_energy_ratio_without_texture"] = float(ratio)
    return figures


def gradient_energy(images: Tensor) -> Tensor:
    """Return the mean squared forward difference per image, [N]."""
    parts = [torch.diff(images, dim=axis).pow(2).mean(dim=(1, 2, 3, 4)) for axis in (2, 3, 4)]
    return torch.stack(parts).sum(dim=0)
