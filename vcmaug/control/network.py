"""The trainable part of every control: a network that modulates a frozen prediction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from vcmaug.ldm.denoiser import Context, Denoiser, Encoded
from vcmaug.ldm.prior import Prior

__all__ = ["ControlNetwork", "Steered"]


@dataclass(frozen=True)
class Steered:
    """What a control's network makes of a noisy latent.

    Attributes:
        epsilon: The steered prediction [B, L, x, y, z].
        frozen: The frozen one where the network has looked at it, else None.
        penalty: How much it adds, a number that training may keep small; None: no such thing.
    """

    epsilon: Tensor
    frozen: Tensor | None = None
    penalty: Tensor | None = None


class ControlNetwork(nn.Module, ABC):
    """The trainable part of a control; a new one returns the frozen prediction exactly."""

    @abstractmethod
    def encode(self, shown: Tensor) -> Encoded:
        """Return the encoded condition, once per sample, of conditions [B, C, X, Y, Z].

        C is the number of structures, or what `control.shown` makes of several channels.
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
        self, denoiser: Denoiser, z_t: Tensor, t: Tensor, scalars: Tensor | None, shown: Tensor
    ) -> tuple[Steered, Tensor | None]:
        """Return the steered prediction and the expected latents for conditions [B, C, X, Y, Z]."""
        encoded = self.encode(shown)
        context = Context(scalars, encoded)
        return self.steered(denoiser, z_t, t=t, context=context, encoded=encoded), encoded.expected
