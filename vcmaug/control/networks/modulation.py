"""Output modulation: a frozen prediction scaled and shifted.

References:
    Ham et al. 2023, arXiv 2302.12764; Ahn et al. 2025, WACV, arXiv 2410.21826.
"""

from torch import Tensor, nn

from vcmaug.control.network import Steered

__all__ = ["modulate", "modulated", "zero"]


def modulate(epsilon: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return epsilon * (1 + gamma) + beta, elementwise, [B, L, x, y, z]."""
    return epsilon * (1.0 + gamma) + beta


def modulated(frozen: Tensor, gamma: Tensor, beta: Tensor, strength: float) -> Steered:
    """Return the modulated prediction, and the mean of |gamma| + |beta| as its penalty."""
    gamma, beta = gamma.float(), beta.float()
    return Steered(
        epsilon=modulate(frozen, strength * gamma, strength * beta),
        frozen=frozen,
        penalty=(gamma.abs() + beta.abs()).mean(),
    )


def zero(convolution: nn.Conv3d) -> nn.Conv3d:
    """Return the convolution with weight and bias at zero."""
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
