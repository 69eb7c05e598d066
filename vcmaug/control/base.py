"""A control in use: frozen, with its card; the denoiser that it makes of another; its folder.

Training leaves one and writes it, generation's workers load it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from vcmaug.control.card import ControlCard
from vcmaug.control.method import ControlMethod
from vcmaug.control.network import ControlNetwork
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.card import read_card
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.weights import fill_module, hash_of_weights, read_weights, write_weights

__all__ = ["Control", "SteeredDenoiser", "load_control", "rescaled", "write_control"]


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

    @classmethod
    def of(
        cls,
        network: ControlNetwork,
        *,
        method: ControlMethod,
        prior: Prior,
        scheme: LabelScheme,
        seen: Seen,
        **about: Any,
    ) -> Self:
        """Return a network on a prior, as both are now, as a control in use.

        Args:
            network: With its weights.
            method: Whose network it is.
            prior: The one it steers; known by its hash.
            scheme: Meaning of the condition's channels.
            seen: Of whom what was seen.
            **about: Further facts of the card; see `ControlCard`.
        """
        card = ControlCard(
            name=method.name,
            settings=method,
            scheme=scheme,
            num_timesteps=prior.schedule.num_timesteps,
            prior=prior.spec.name,
            prior_sha256=prior.card.weights_sha256,
            weights_sha256=hash_of_weights(network.state_dict()),
            num_parameters=sum(p.numel() for p in network.parameters()),
            expects_latents=method.expects_latents,
            seen=seen,
            **about,
        )
        return cls(network, card)

    @torch.no_grad()
    def encode(self, channels: Tensor) -> Encoded:
        """Return the encoded condition, once per sample, of conditions [B, C, X, Y, Z].

        C is the number of structures, or what `control.channels` makes of several channels.
        """
        return self.network.encode(channels)

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
        """Return the steered prediction [B, L, x, y, z]; the frozen one where the control is off.

        It is off outside its timesteps, and for samples that are shown nothing.
        """
        encoded = context.encoded
        if encoded is None or not self.first <= float(t[0]) < self.last:
            return self.denoiser(z_t, t, context)
        steered = self.network.steered(
            self.denoiser, z_t, t=t, context=context, encoded=encoded, strength=self.strength
        )
        if context.there is None:
            return steered.prediction
        frozen = self.denoiser(z_t, t, context)
        return torch.where(context.there[:, None, None, None, None], steered.prediction, frozen)


def write_control(folder: Path, control: Control, *, half: bool = False) -> None:
    """Write `control.safetensors`, then `card.json`; no tensor of the prior is in it.

    Args:
        folder: Where.
        control: With its card.
        half: Store in half precision; the weights must have been rounded to it.
    """
    weights = control.network.state_dict()
    write_weights(folder / "control.safetensors", weights, half=half)
    write_json(folder / "card.json", control.card.model_dump(mode="json"))


def load_control(folder: Path, *, prior: Prior, device: str = "cpu") -> Control:
    """Return the control in a folder, frozen and in evaluation mode.

    Raises:
        ModelError: It was trained on another prior, or something is missing or damaged.
    """
    card = read_card(folder, ControlCard)
    if card.prior_sha256 != prior.card.weights_sha256:
        raise ModelError(
            f"loading control {folder}: it was trained on prior {card.prior!r} "
            f"({card.prior_sha256[:12]}), this is {prior.spec.name!r} "
            f"({prior.card.weights_sha256[:12]}). Train a control on this prior."
        )
    network = card.settings.network(
        prior.spec,
        num_structures=card.shown.part_of(card.scheme).num_structures,
        names=card.shown.names,
    )
    path = folder / "control.safetensors"
    weights = read_weights(path)
    if hash_of_weights(weights) != card.weights_sha256:
        raise ModelError(f"loading control {folder}: the weights' hash is not the one on the card.")
    fill_module(network, weights, source=path)
    return Control(network.to(device), card)


def rescaled(prior: Prior, start: Path | None) -> Prior:
    """Return a prior with the latent scale of the control that another starts from.

    Args:
        prior: As it is.
        start: Folder of that control; None: there is none.
    """
    scale = None if start is None else read_card(start, ControlCard).latent_scale
    return prior if scale is None else replace(prior, latent_scale=scale)
