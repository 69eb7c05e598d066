"""A prior: autoencoder, frozen denoiser and card, loaded from or written to one folder.

References:
    Rombach et al. 2022, arXiv 2112.10752.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vcmaug.data.scalars import scalar_vector
from vcmaug.data.seen import Seen
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.background import without_background
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.ldm.denoiser import FrozenDenoiser, ScalarUNet
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.texture import Texture
from vcmaug.ldm.weights import (
    fill_module,
    hash_of_weights,
    in_half_precision,
    names_of_weights,
    read_weights,
    write_weights,
)
from vcmaug.zoo import model_folder

__all__ = ["Prior", "has_mean", "load_prior", "new_prior", "write_prior"]

_MEAN, _TEXTURE = "start.mean", "texture."  # names in the file


@dataclass(frozen=True)
class Prior:
    """A frozen latent diffusion model.

    Attributes:
        spec: Shapes and meanings.
        autoencoder: Frozen.
        denoiser: The frozen noise prediction.
        schedule: How noise takes the place of the signal, and what is predicted.
        latent_scale: z = posterior mean * latent_scale.
        texture: What the decoder leaves out, or None.
        mean: Mean latent of the training cases [L, x, y, z], where draws start; None: at noise.
        card: What is known of it.
        folder: From which it was loaded; workers load it there too.
    """

    spec: PriorSpec
    autoencoder: StemmedAutoencoder
    denoiser: FrozenDenoiser
    schedule: Schedule
    latent_scale: float
    card: PriorCard
    texture: Texture | None = None
    mean: Tensor | None = None
    folder: Path | None = None

    @classmethod
    def load(cls, source: Path | str, *, device: str = "cpu") -> "Prior":
        """Return a prior of the zoo, or of a folder.

        Args:
            source: "zoo:NAME", or a folder.
            device: A torch device.

        Raises:
            ModelError: There is none, or something is missing or damaged.
        """
        return load_prior(model_folder(source), device=device)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The tensors of both networks under the prefixes `autoencoder.` and `unet.`."""
        return _Networks(self.autoencoder, self.denoiser.unet).state_dict()

    def to(self, device: str) -> "Prior":
        """Return the prior on a device; its networks move themselves, as PyTorch's do."""
        self.autoencoder.to(device)
        self.denoiser.unet.to(device)
        return replace(
            self,
            texture=None if self.texture is None else self.texture.to(device),
            mean=None if self.mean is None else self.mean.to(device),
        )

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Return latents [B, L, x, y, z], the scaled posterior mean, of images in [0, 1]."""
        mean, _ = self.autoencoder.encode(images)
        return mean * self.latent_scale

    @torch.no_grad()
    def decode(self, z: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return images [B, C, X, Y, Z], clipped to [0, 1], from latents [B, L, x, y, z].

        Where all training images have a background of exact zeros, these have it too.

        Args:
            z: Latents.
            noise: Standard normal draws [B, C, X, Y, Z] for the texture; None leaves it out.
        """
        decoded = images = self.autoencoder.decode(z / self.latent_scale)
        if self.texture is not None and noise is not None:
            images = self.texture.add(decoded, noise)
        images, above = images.clamp(0.0, 1.0), self.card.foreground_above
        if self.spec.autoencoder.foreground:  # the decoder has set what it does not show to 0
            return images * (decoded != 0).any(dim=1, keepdim=True)
        return images if above is None else without_background(images, decoded, above=above)

    def scalar_vector(self, values: Mapping[str, float | None]) -> Tensor | None:
        """Return normalised scalars [S] of raw values, or None for a prior without scalars.

        Args:
            values: Raw value by name; a missing one is filled as `data.scalars` states.
        """
        if not self.spec.scalars:
            return None
        fill = self.card.scalar_fill
        return torch.from_numpy(scalar_vector(self.spec.scalars, values, fill=fill))


class _Networks(nn.Module):
    """Both networks of a prior; names of weights begin with `autoencoder.` and `unet.`."""

    def __init__(self, autoencoder: StemmedAutoencoder, unet: ScalarUNet) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.unet = unet


def new_prior(
    *,
    spec: PriorSpec,
    autoencoder: StemmedAutoencoder,
    unet: ScalarUNet,
    latent_scale: float,
    seen: Seen,
    texture: Texture | None = None,
    mean: Tensor | None = None,
    half: bool = False,
    **about: Any,
) -> Prior:
    """Return a prior of trained networks, frozen, with its card.

    Args:
        spec: Repeated in the card.
        autoencoder: With its weights.
        unet: With its weights (of the moving average).
        latent_scale: See `Prior`.
        seen: Of whom what was seen.
        texture: What the decoder leaves out, or None.
        mean: Mean latent of the training cases, or None.
        half: Round all weights to half precision, in which they are to be stored.
        **about: Further facts of the card; see `PriorCard`.
    """
    networks = _Networks(autoencoder, unet)
    weights = {**networks.state_dict(), **_others(texture, mean)}
    if half:
        weights = in_half_precision(weights)
        networks.load_state_dict(in_half_precision(networks.state_dict()))
    card = PriorCard(
        name=spec.name,
        spec=spec,
        latent_scale=latent_scale,
        weights_sha256=hash_of_weights(weights),
        num_parameters={
            name: sum(p.numel() for p in network.parameters())
            for name, network in networks.named_children()
        },
        seen=seen,
        **{"note": spec.about_labels, **about},
    )
    return _assembled(card, networks, weights)


def _others(texture: Texture | None, mean: Tensor | None) -> dict[str, Tensor]:
    """Return the tensors of a prior's file besides its networks' by their names there."""
    parts = {} if texture is None else vars(texture)
    named = {f"{_TEXTURE}{name}": part for name, part in parts.items()}
    return named if mean is None else named | {_MEAN: mean}


def _assembled(card: PriorCard, networks: _Networks, weights: Mapping[str, Tensor]) -> Prior:
    """Return a frozen prior of filled networks and, from all weights, its texture and mean."""
    texture = {
        name.removeprefix(_TEXTURE): part
        for name, part in weights.items()
        if name.startswith(_TEXTURE)
    }
    return Prior(
        spec=card.spec,
        autoencoder=networks.autoencoder.eval().requires_grad_(False),
        denoiser=FrozenDenoiser(networks.unet),
        schedule=Schedule(card.spec.schedule),
        latent_scale=card.latent_scale,
        card=card,
        texture=Texture(**texture) if texture else None,
        mean=weights.get(_MEAN),
    )


def write_prior(folder: Path, prior: Prior, *, half: bool = False) -> None:
    """Write `prior.safetensors`, then `card.json`.

    Args:
        folder: Where.
        prior: With its card.
        half: Store in half precision; the prior must have been rounded to it, see `new_prior`.
    """
    weights = prior.weights | _others(prior.texture, prior.mean)
    write_weights(folder / "prior.safetensors", weights, half=half)
    write_json(folder / "card.json", prior.card.model_dump(mode="json"))


def load_prior(folder: Path, *, device: str = "cpu") -> Prior:
    """Return the prior in a folder, frozen and in evaluation mode.

    Raises:
        ModelError: Something is missing, damaged, or not what the card says.
    """
    card = read_card(folder, PriorCard)
    path = folder / "prior.safetensors"
    weights = read_weights(path)
    if hash_of_weights(weights) != card.weights_sha256:
        raise ModelError(f"loading prior {folder}: the weights' hash is not the one on the card.")
    networks = _Networks(StemmedAutoencoder(card.spec), ScalarUNet(card.spec))
    own = {name: t for name, t in weights.items() if not name.startswith((_TEXTURE, _MEAN))}
    fill_module(networks, own, source=path)
    return replace(_assembled(card, networks, weights).to(device), folder=folder)


def has_mean(folder: Path) -> bool:
    """Return whether a prior knows the mean of its training cases; its weights are not read.

    Raises:
        ModelError: The file of its weights is missing or damaged.
    """
    return _MEAN in names_of_weights(folder / "prior.safetensors")
