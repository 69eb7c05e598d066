"""The losses of autoencoder, prior and control; none downloads weights.

References:
    Kingma and Welling 2014, arXiv 1312.6114, appendix B (KL); Ho et al. 2020, arXiv 2006.11239,
    eq. 14; Ahn et al. 2025, arXiv 2410.21826 (penalty on the modulation).
"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["autoencoder_loss", "control_loss", "gradient_loss", "kl_loss"]


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


def autoencoder_loss(
    reconstruction: Tensor,
    images: Tensor,
    *,
    mean: Tensor,
    deviation: Tensor,
    kl_weight: float,
    gradient_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    """Return L1 + weighted gradient difference + weighted KL, and the parts as numbers."""
    l1 = functional.l1_loss(reconstruction, images)
    gradient = gradient_loss(reconstruction, images)
    kl = kl_loss(mean, deviation)
    loss = l1 + gradient_weight * gradient + kl_weight * kl
    parts = {"l1": l1.item(), "gradient": gradient.item(), "kl": kl.item()}
    return loss, parts


def control_loss(
    prediction: Tensor,
    epsilon: Tensor,
    *,
    weights: Tensor,
    penalty: Tensor | None,
    l1_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    """Return MSE(epsilon', epsilon) + l1_weight * penalty, and the parts.

    Args:
        prediction: epsilon', [B, L, x, y, z].
        epsilon: The noise that was added, likewise.
        weights: Of each element's error, [B, 1, x, y, z]; all 1 is the MSE itself.
        penalty: Mean of |gamma| + |beta| for controls that modulate, None for others.
        l1_weight: lambda; the penalty is a mean over all elements, whatever their number.
    """
    errors = (prediction - epsilon) ** 2
    mse = (weights * errors).mean()
    parts = {"mse": errors.mean().item(), "weighted": mse.item()}
    if penalty is None:
        return mse, parts
    parts["penalty"] = penalty.item()
    return mse + l1_weight * penalty, parts
