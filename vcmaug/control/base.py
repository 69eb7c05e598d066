"""A control in use: frozen, with its card; the denoiser that it makes of another.

Generation's workers load one, training leaves one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vcmaug.control.card import ControlCard
from vcmaug.control.network import ControlNetwork
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded

__all__ = ["Control", "SteeredDenoiser"]


class Control:
    """A control in use: frozen, with its card.

    Args:
        network: Put in evaluation mode, its gradients switched off.
        card: What is known of it.
    """

    def __init__(self, network: ControlNetwork, card: ControlCard) -> None:
        self.network = network.eval().requires_grad_(False)
        self.card = card
        self.shows = card.shown

    @torch.no_grad()
    def encode(self, shown: Tensor) -> Encoded:
        """Return the encoded condition, once per sample, of conditions [B, C, X, Y, Z].

        C is the number of structures, or what `control.shown` makes of several channels.
        """
        return self.network.encode(shown)

    def steer(
        self,
        denoiser: Denoiser,
        *,
        strength: float = 1.0,
        interval: tuple[float, float] = (0.0, 1.0),
    ) -> "SteeredDenoiser":
        """Return a denoiser that holds `denoiser` and steers it towards the encoded condition.

        Args:
            denoiser: The frozen prediction.
            strength: Scales what is added; 0 is the frozen prediction, 1 as trained.
            interval: Share of the schedule, from 0 (no noise) to 1 (all noise), in which the
                control acts; outside it the frozen prediction is returned.
        """
        num_timesteps = self.card.num_timesteps
        return SteeredDenoiser(
            denoiser=denoiser,
            network=self.network,
            strength=strength,
            first=interval[0] * num_timesteps,
            last=interval[1] * num_timesteps,
        )


@dataclass(frozen=True, kw_only=True)
class SteeredDenoiser:
    """The denoiser that a control makes of another.

    Attributes:
        denoiser: The frozen prediction.
        network: The control's trained part.
        strength: Scales what it adds.
        first: Lowest timestep at which the control acts.
        last: Timestep from which on it does not.
    """

    denoiser: Denoiser
    network: ControlNetwork
    strength: float
    first: float
    last: float

    @torch.no_grad()
    def __call__(self, z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return epsilon' [B, L, x, y, z]; the frozen epsilon where the control is off.

        It is off outside its timesteps, and for samples that are shown nothing.
        """
        encoded = context.encoded
        if encoded is None or not self.first <= float(t[0]) < self.last:
            return self.denoiser(z_t, t, context)
        steered = self.network.steered(
            self.denoiser, z_t, t=t, context=context, encoded=encoded, strength=self.strength
        )
        if context.there is None:
            return steered.epsilon
        frozen = self.denoiser(z_t, t, context)
        return torch.where(context.there[:, None, None, None, None], steered.epsilon, frozen)
