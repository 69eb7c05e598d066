"""A prior: autoencoder, frozen denoiser and card, loaded from or written to one folder.

What it is: all that the upper floors need of a latent diffusion model.
In the flow: written by `training`, held by controls, read by generation's workers.
Sources: Rombach et al. 2022, arXiv 2112.10752.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcmaug.data.scalars import scalar_vector
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import FrozenDenoiser, ScalarUNet
from vcmaug.ldm.schedule import Schedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.texture import Texture
from vcmaug.ldm.weights import (
    card_being_read,
    fill_module,
    hash_of_weights,
    names_of_weights,
    read_card,
    read_weights,
    write_weights,
)
from vcmaug.zoo import model_folder

__all__ = ["Prior", "has_mean", "load_prior", "spec_on", "weights_of", "write_prior"]

_MEAN = "start.mean"


@dataclass(frozen=True)
class Prior:
    """A frozen latent diffusion model.

    Attributes:
        spec: Shapes and meanings.
        autoencoder: Frozen.
        denoiser: The frozen noise prediction.
        schedule: Of the noise.
        latent_scale: z = posterior mean * latent_scale.
        texture: What the decoder leaves out, or None.
        mean: Mean latent of the training cases [L, x, y, z], where draws start; None: at noise.
        card: What is known of it: subjects, licence, figures, `weights_sha256`, `scalar_fill`.
        folder: From which it was loaded; workers load it there too.
    """

    spec: PriorSpec
    autoencoder: StemmedAutoencoder
    denoiser: FrozenDenoiser
    schedule: Schedule
    latent_scale: float
    card: Mapping[str, Any]
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

        Args:
            z: Latents.
            noise: Standard normal draws [B, C, X, Y, Z] for the texture; None leaves it out.
        """
        images = self.autoencoder.decode(z / self.latent_scale)
        if self.texture is not None and noise is not None:
            images = self.texture.add(images, noise)
        return images.clamp(0.0, 1.0)

    def scalar_vector(self, values: Mapping[str, float | None]) -> Tensor | None:
        """Return normalised scalars [S] of raw values, or None for a prior without scalars.

        Args:
            values: Raw value by name; a missing one is filled as `data.scalars` states.
        """
        if not self.spec.scalars:
            return None
        fill = self.card["scalar_fill"]
        return torch.from_numpy(scalar_vector(self.spec.scalars, values, fill=fill))


def weights_of(autoencoder: StemmedAutoencoder, unet: ScalarUNet) -> dict[str, Tensor]:
    """Return both networks' tensors under the prefixes `autoencoder.` and `unet.`."""
    weights = {f"autoencoder.{name}": t for name, t in autoencoder.state_dict().items()}
    return weights | {f"unet.{name}": tensor for name, tensor in unet.state_dict().items()}


def write_prior(
    folder: Path,
    *,
    spec: PriorSpec,
    autoencoder: StemmedAutoencoder,
    unet: ScalarUNet,
    latent_scale: float,
    card: Mapping[str, Any],
    texture: Texture | None = None,
    mean: Tensor | None = None,
    half: bool = False,
) -> None:
    """Write `prior.safetensors`, then `card.json`.

    Args:
        folder: Where.
        spec: Repeated in the card.
        autoencoder: With its weights.
        unet: With its weights (of the moving average).
        latent_scale: See `Prior`.
        card: Must hold `subjects` and `scalar_fill`; the rest is for readers.
        texture: What the decoder leaves out, or None.
        mean: Mean latent of the training cases, or None.
        half: Store in half precision; the hash is that of the rounded weights.
    """
    weights = weights_of(autoencoder, unet)
    if texture is not None:
        weights |= {f"texture.{name}": part for name, part in texture.to_tensors().items()}
    if mean is not None:
        weights |= {_MEAN: mean}
    if half:
        weights = {
            name: tensor.half().float() if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        }
    write_weights(folder / "prior.safetensors", weights, half=half)
    facts = {
        "kind": "prior",
        "name": spec.name,
        "spec": spec.model_dump(mode="json"),
        "latent_scale": latent_scale,
        "weights_sha256": hash_of_weights(weights),
        "num_parameters": {
            "autoencoder": sum(p.numel() for p in autoencoder.parameters()),
            "unet": sum(p.numel() for p in unet.parameters()),
        },
    }
    write_json(folder / "card.json", facts | dict(card))


def load_prior(folder: Path, *, device: str = "cpu") -> Prior:
    """Return the prior in a folder, frozen and in evaluation mode.

    Raises:
        ModelError: Something is missing, damaged, or not what the card says.
    """
    card = read_card(folder, kind="prior")
    spec = spec_on(card, folder)
    path = folder / "prior.safetensors"
    weights = read_weights(path)
    if hash_of_weights(weights) != card["weights_sha256"]:
        raise ModelError(f"loading prior {folder}: the weights' hash is not the one on the card.")
    autoencoder, unet = spec.build_autoencoder(), spec.build_unet()
    fill_module(autoencoder, _part(weights, "autoencoder."), source=path)
    fill_module(unet, _part(weights, "unet."), source=path)
    texture = _part(weights, "texture.")
    prior = Prior(
        spec=spec,
        autoencoder=autoencoder.eval().requires_grad_(False),
        denoiser=FrozenDenoiser(unet),
        schedule=Schedule(spec.schedule),
        latent_scale=float(card["latent_scale"]),
        card=card,
        texture=Texture(**texture) if texture else None,
        mean=weights.get(_MEAN),
        folder=folder,
    )
    return prior.to(device)


def has_mean(folder: Path) -> bool:
    """Return whether a prior knows the mean of its training cases; its weights are not read.

    Raises:
        ModelError: The file of its weights is missing or damaged.
    """
    return _MEAN in names_of_weights(folder / "prior.safetensors")


def spec_on(card: Mapping[str, Any], folder: Path) -> PriorSpec:
    """Return the spec on the card of a prior in a folder.

    Raises:
        ModelError: This version knows no such prior.
    """
    with card_being_read(folder, kind="prior"):
        return PriorSpec.model_validate(card["spec"])


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
