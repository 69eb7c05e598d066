"""Solvers: the formulas of one step from z_t to the next timestep.

References:
    Ho et al. 2020, arXiv 2006.11239, eq. 7 (DDPM, between any two timesteps); Song et al. 2021,
    arXiv 2010.02502, eq. 12 (DDIM, eta = 0); Karras et al. 2022, arXiv 2206.00364, algorithm 1
    (Heun); Lu et al. 2022, arXiv 2211.01095, algorithm 2 (DPM-Solver++(2M)) and appendix (its SDE).

Notes:
    alpha is alpha_bar. At alpha_next = 1 every solver returns the predicted z_0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ddim_step", "ddpm_step", "dpmpp_2m_sde_step", "dpmpp_2m_step", "heun_step"]


def ddim_step(z_0: Tensor, epsilon: Tensor, *, alpha_next: float) -> Tensor:
    """Return z at the next timestep: the predicted z_0 with the predicted noise put back.

    Args:
        z_0: Predicted clean latents [B, L, x, y, z].
        epsilon: Predicted noise, likewise.
        alpha_next: alpha_bar of the next timestep; 1 at the end.
    """
    return math.sqrt(alpha_next) * z_0 + math.sqrt(1.0 - alpha_next) * epsilon


def heun_step(
    z_t: Tensor, epsilon: Tensor, epsilon_next: Tensor, *, alpha: float, alpha_next: float
) -> Tensor:
    """Return z at the next timestep along the mean of the slopes at both its ends.

    Args:
        z_t: Latents at this step [B, L, x, y, z].
        epsilon: Predicted noise there.
        epsilon_next: Predicted noise where DDIM's step ends.
        alpha: alpha_bar of this timestep.
        alpha_next: alpha_bar of the next; below 1.
    """
    by = _noise_to_signal(alpha_next) - _noise_to_signal(alpha)
    slope = 0.5 * (epsilon + epsilon_next)
    return math.sqrt(alpha_next) * (z_t / math.sqrt(alpha) + by * slope)


def ddpm_step(
    z_t: Tensor, z_0: Tensor, fresh: Tensor | None, *, alpha: float, alpha_next: float
) -> Tensor:
    """Return z at the next timestep drawn from q(z_next | z_t, z_0).

    Args:
        z_t: Latents at this step [B, L, x, y, z].
        z_0: Their predicted clean latents, likewise.
        fresh: Standard normal noise, likewise; None at the last step.
        alpha: alpha_bar of this timestep.
        alpha_next: alpha_bar of the next; 1 at the end.
    """
    kept = alpha / alpha_next
    of_z_0 = math.sqrt(alpha_next) * (1.0 - kept) / (1.0 - alpha)
    of_z_t = math.sqrt(kept) * (1.0 - alpha_next) / (1.0 - alpha)
    spread = math.sqrt((1.0 - kept) * (1.0 - alpha_next) / (1.0 - alpha))
    mean = of_z_0 * z_0 + of_z_t * z_t
    return mean if fresh is None else mean + spread * fresh


def dpmpp_2m_step(
    z_t: Tensor, z_0: Tensor, previous_z_0: Tensor | None, *, alphas: tuple[float, float, float]
) -> Tensor:
    """Return z at the next timestep by the second-order multistep solver.

    The first and the last step are of first order.

    Args:
        z_t: Latents at this step [B, L, x, y, z].
        z_0: Their predicted clean latents, likewise.
        previous_z_0: The prediction one step earlier, or None at the first step.
        alphas: alpha_bar of the step before, of this one, and of the next, 1 at the end.
    """
    _, alpha, alpha_next = alphas
    if alpha_next >= 1.0:
        return z_0
    h = _log_snr(alpha_next) - _log_snr(alpha)
    sigma_share = math.sqrt((1 - alpha_next) / (1 - alpha))
    blended = _extrapolated(z_0, previous_z_0, alphas)
    return sigma_share * z_t - math.sqrt(alpha_next) * math.expm1(-h) * blended


def dpmpp_2m_sde_step(
    z_t: Tensor,
    z_0: Tensor,
    previous_z_0: Tensor | None,
    fresh: Tensor | None,
    *,
    alphas: tuple[float, float, float],
) -> Tensor:
    """Return z at the next timestep by the same solver of the reverse SDE.

    Args:
        z_t: Latents at this step [B, L, x, y, z].
        z_0: Their predicted clean latents, likewise.
        previous_z_0: The prediction one step earlier, or None at the first step.
        fresh: Standard normal noise, likewise; None at the last step.
        alphas: As for `dpmpp_2m_step`.
    """
    _, alpha, alpha_next = alphas
    if fresh is None or alpha_next >= 1.0:
        return z_0
    h = _log_snr(alpha_next) - _log_snr(alpha)
    sigma, sigma_next = math.sqrt(1 - alpha), math.sqrt(1 - alpha_next)
    renewed = -math.expm1(-2.0 * h)
    blended = _extrapolated(z_0, previous_z_0, alphas)
    mean = sigma_next / sigma * math.exp(-h) * z_t + math.sqrt(alpha_next) * renewed * blended
    return mean + sigma_next * math.sqrt(renewed) * fresh


def _extrapolated(
    z_0: Tensor, previous_z_0: Tensor | None, alphas: tuple[float, float, float]
) -> Tensor:
    """Return the predicted z_0 at the middle of the step, along its last change."""
    if previous_z_0 is None:
        return z_0
    before, here, there = (_log_snr(min(alpha, 1 - 1e-12)) for alpha in alphas)
    ratio = (here - before) / (there - here)
    return z_0 + (z_0 - previous_z_0) / (2.0 * ratio)


def _log_snr(alpha: float) -> float:
    """Return lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar))."""
    return 0.5 * math.log(alpha / (1.0 - alpha))


def _noise_to_signal(alpha: float) -> float:
    """Return sqrt(1 - alpha_bar) / sqrt(alpha_bar)."""
    return math.sqrt((1.0 - alpha) / alpha)
