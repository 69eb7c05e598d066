"""The trainable part of every control, and the two ways to steer a frozen prediction.

A network modulates the prediction (`ModulatingNetwork`) or adds features inside the frozen U-Net
(`FusingNetwork`); another way is another subclass of `ControlNetwork`.

References:
    Ham et al. 2023, arXiv 2302.12764; Ahn et al. 2025, WACV, arXiv 2410.21826 (output modulation);
    Zhang et al. 2023, arXiv 2302.05543; Mou et al. 2023, arXiv 2302.08453 (feature fusion).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vcmaug.errors import ModelError
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded, Features, FrozenDenoiser
from vcmaug.ldm.prior import Prior

__all__ = ["ControlNetwork", "FusingNetwork", "ModulatingNetwork", "Steered", "zero"]


@dataclass(frozen=True)
class Steered:
    """What a control's network makes of a noisy latent.

    Attributes:
        prediction: The steered one [B, L, x, y, z].
        frozen: The frozen one where the network has looked at it, else None.
        penalty: How much it adds, a number that training may keep small; None: no such thing.
    """

    prediction: Tensor
    frozen: Tensor | None = None
    penalty: Tensor | None = None


class ControlNetwork(nn.Module, ABC):
    """The trainable part of a control; a new one returns the frozen prediction exactly."""

    @abstractmethod
    def encode(self, channels: Tensor) -> Encoded:
        """Return the encoded condition, once per sample, of conditions [B, C, X, Y, Z].

        C is the number of structures, or what `control.channels` makes of several channels.
        """

    @abstractmethod
    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        """Return the steered prediction for an encoded condition.

        Args:
            denoiser: The frozen prediction.
            z_t: Noisy latents [B, L, x, y, z].
            t: Timesteps, long [B].
            context: Scalars, and whatever else the frozen prediction looks at.
            encoded: What `encode` gave.
            strength: Scales what is added; 0 is the frozen prediction, 1 as trained.
        """

    def start_from_prior(self, prior: Prior) -> None:
        """Take over what a new network of its kind starts with; most start from nothing."""

    def forward(
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, scalars: Tensor | None, channels: Tensor
    ) -> tuple[Steered, Tensor | None]:
        """Return the steered prediction and the expected latents for conditions [B, C, X, Y, Z]."""
        encoded = self.encode(channels)
        context = Context(scalars, encoded)
        return self.steered(denoiser, z_t, t=t, context=context, encoded=encoded), encoded.expected


class ModulatingNetwork(ControlNetwork):
    """A control that scales and shifts: prediction' = prediction * (1 + gamma_t) + beta_t.

    The prediction is epsilon, or on a rectified flow the velocity.

    Attributes:
        unet: Looks at z_t, the frozen prediction and the encoded condition.
        shared: What both heads look at.
        gamma_head: To gamma_t.
        beta_head: To beta_t.
    """

    unet: nn.Module
    shared: nn.Module
    gamma_head: nn.Module
    beta_head: nn.Module

    def modulation(
        self, z_t: Tensor, frozen: Tensor, *, t: Tensor, encoded: Encoded
    ) -> tuple[Tensor, Tensor]:
        """Return gamma_t and beta_t, each [B, L, x, y, z].

        Args:
            z_t: Noisy latents [B, L, x, y, z].
            frozen: The frozen prediction for them, likewise.
            t: Timesteps, long [B].
            encoded: From `encode`.
        """
        seen = torch.cat([z_t, frozen, *encoded.features], dim=1)
        shared = self.shared(self.unet(seen, t))
        return self.gamma_head(shared), self.beta_head(shared)

    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        """Return the steered prediction, and the mean of |gamma| + |beta| as its penalty."""
        frozen = denoiser(z_t, t, context).float()
        heads = self.modulation(z_t, frozen, t=t, encoded=encoded)
        gamma, beta = heads[0].float(), heads[1].float()
        steered = frozen * (1.0 + strength * gamma) + strength * beta
        return Steered(steered, frozen, penalty=(gamma.abs() + beta.abs()).mean())


class FusingNetwork(ControlNetwork):
    """A control that adds features inside the frozen U-Net; z_t and the condition give them.

    Attributes:
        method: Its name in messages.
    """

    method: str

    @abstractmethod
    def features(self, z_t: Tensor, t: Tensor, *, context: Context, encoded: Encoded) -> Features:
        """Return what is added for an encoded condition."""

    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        """Return the fused prediction.

        Raises:
            ModelError: The denoiser is not the prior's own, but one that a control steers already.
        """
        if not isinstance(denoiser, FrozenDenoiser):
            raise ModelError(
                f"steering with {self.method}: it adds features inside the prior's U-Net and "
                f"cannot steer a {type(denoiser).__name__}. Let it be the first control of the "
                "chain."
            )
        found = self.features(z_t, t, context=context, encoded=encoded)
        scaled = Features(
            skips=tuple(strength * one for one in found.skips),
            mid=None if found.mid is None else strength * found.mid,
            levels=tuple(strength * one for one in found.levels),
        )
        return Steered(denoiser.fused(z_t, t, context, scaled).float())


def zero(convolution: nn.Conv3d) -> nn.Conv3d:
    """Return the convolution with weight and bias at zero."""
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
