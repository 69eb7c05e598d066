"""The one function that samplers see: (z_t, t, context) -> prediction.

The protocol, the frozen U-Net behind it, and an exact denoiser for Gaussian data. A control holds a
denoiser and is one (`control.base`).

References:
    Pinaya et al. 2022, arXiv 2209.07162 (scalars as constant channels and by cross-attention).
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec

__all__ = [
    "Context",
    "Denoiser",
    "Encoded",
    "Features",
    "FrozenDenoiser",
    "GaussianDenoiser",
    "ScalarUNet",
    "with_scalars",
]


@dataclass(frozen=True)
class Encoded:
    """A condition as its control encoded it, once per sample.

    Attributes:
        features: One tensor or several, [B, channels, x, y, z].
        expected: Latents [B, L, x, y, z] that the condition alone lets one expect; None: unknown.
        there: 1 where a sample shows the control anything, else 0, [B, 1, 1, 1, 1]; None: all do.
    """

    features: tuple[Tensor, ...]
    expected: Tensor | None = None
    there: Tensor | None = None


@dataclass(frozen=True)
class Context:
    """What a draw is asked for, besides its noise.

    Attributes:
        scalars: Normalised scalars [B, S], or None for a prior without any.
        encoded: The condition as its control encoded it; None without a condition.
        there: Which samples are shown anything at all, bool [B]; None: all of them.
    """

    scalars: Tensor | None = None
    encoded: Encoded | None = None
    there: Tensor | None = None


@dataclass(frozen=True)
class Features:
    """What a control adds inside a U-Net.

    Attributes:
        skips: To each skip connection, in the order of the encoder; or none.
        mid: To the middle, [B, C, x, y, z].
        levels: To the encoder's last features of each level, before they are halved; or none.
    """

    skips: tuple[Tensor, ...] = ()
    mid: Tensor | None = None
    levels: tuple[Tensor, ...] = ()


class Denoiser(Protocol):
    """Anything that predicts what the schedule says: the noise in z_t, or the velocity."""

    def __call__(self, z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return the prediction [B, L, x, y, z] for z_t of that shape and t, long [B]."""
        ...


class ScalarUNet(nn.Module):
    """A MONAI `DiffusionModelUNet` that takes scalars twice, as in BrainLDM.

    Args:
        spec: Of the prior; without scalars there is no conditioning at all.
    """

    def __init__(self, spec: PriorSpec) -> None:
        super().__init__()
        latent_channels, num_scalars = spec.autoencoder.latent_channels, len(spec.scalars)
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=latent_channels + num_scalars,
            out_channels=latent_channels,
            resblock_updown=True,
            with_conditioning=num_scalars > 0,
            cross_attention_dim=num_scalars or None,
            **spec.diffusion.model_dump(),
        )

    def forward(
        self, z_t: Tensor, t: Tensor, scalars: Tensor | None, features: Features | None = None
    ) -> Tensor:
        """Return the prediction [B, L, x, y, z] for z_t, timesteps [B], scalars [B, S] or None."""
        features = features or Features()
        with ExitStack() as hooks:
            for block, added in zip(self.unet.down_blocks, features.levels, strict=False):
                last = (getattr(block, "attentions", None) or block.resnets)[-1]
                add = partial(_plus, added)
                hooks.enter_context(last.register_forward_hook(add))  # until the block ends
            prediction: Tensor = self.unet(
                with_scalars(z_t, scalars),
                t,
                context=None if scalars is None else scalars[:, None, :],
                down_block_additional_residuals=features.skips or None,
                mid_block_additional_residual=features.mid,
            )
        return prediction


def with_scalars(z_t: Tensor, scalars: Tensor | None) -> Tensor:
    """Return latents with scalars [B, S] as constant channels behind them."""
    if scalars is None:
        return z_t
    maps = scalars[:, :, None, None, None].expand(-1, -1, *z_t.shape[2:])  # [B, S, x, y, z]
    return torch.cat([z_t, maps], dim=1)


def _plus(added: Tensor, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    """Return the output of a module with a tensor added to it, as a forward hook."""
    return output + added


class FrozenDenoiser:
    """A U-Net that is never trained again; no module, so that no holder registers its weights.

    Args:
        unet: Put in evaluation mode, its gradients switched off.
    """

    def __init__(self, unet: ScalarUNet) -> None:
        self.unet = unet.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return the prediction [B, L, x, y, z]; the condition is not looked at."""
        prediction: Tensor = self.unet(z_t, t, context.scalars)
        return prediction

    def fused(self, z_t: Tensor, t: Tensor, context: Context, features: Features) -> Tensor:
        """Return the prediction with features added inside; gradients flow back to these."""
        prediction: Tensor = self.unet(z_t, t, context.scalars, features)
        return prediction


class GaussianDenoiser:
    """The exact prediction for latents drawn from N(mean, variance), per element.

    Args:
        mean: Of z_0; a number or a tensor that broadcasts to [B, L, x, y, z].
        variance: Of z_0, likewise; positive.
        schedule: Of z_t.

    Notes:
        With z_t = s z_0 + n epsilon and r = (z_t - s mean) / (s^2 variance + n^2):
        E[z_0 | z_t] = mean + s variance r, and E[epsilon | z_t] = n r.
    """

    def __init__(
        self, mean: Tensor | float, variance: Tensor | float, *, schedule: Schedule
    ) -> None:
        self.mean = mean
        self.variance = variance
        self.schedule = schedule

    def __call__(self, z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return the posterior mean of the prediction, [B, L, x, y, z], whatever the context."""
        del context
        signal, noise = self.schedule.scales(t, like=z_t)
        away = (z_t - signal * self.mean) / (signal**2 * self.variance + noise**2)
        return self.schedule.target(self.mean + signal * self.variance * away, noise * away)
