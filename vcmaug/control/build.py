"""Controls on disk: from settings to a new one, from a folder to a trained one.

What it is: the one place that knows which controls there are.
In the flow: `training/control.py` writes what generation's workers load.
Sources: none beyond the controls' own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcmaug.control.base import Control
from vcmaug.control.vcm import VCM, VCMNetwork, VCMSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import fill_module, hash_of_weights, read_card, read_weights, write_weights

__all__ = ["build_network", "load_control", "write_control"]


def build_network(settings: VCMSettings, *, spec: PriorSpec, num_structures: int) -> VCMNetwork:
    """Return a new VCM network for a prior; it is the identity.

    Raises:
        ModelError: The encoder does not end on the prior's latent grid.
    """
    if settings.latent_factor != spec.latent_factor:
        raise ModelError(
            f"building a VCM for prior {spec.name!r}: its encoder shrinks by "
            f"{settings.latent_factor}, the prior's latents by {spec.latent_factor}. Change "
            "stem_factor or the number of encoder_channels."
        )
    return VCMNetwork(
        settings,
        num_structures=num_structures,
        latent_shape=spec.latent_shape,
        schedule=spec.schedule,
    )


def write_control(
    folder: Path,
    *,
    network: VCMNetwork,
    settings: VCMSettings,
    prior: Prior,
    scheme: LabelScheme,
    card: Mapping[str, Any],
    half: bool = False,
) -> None:
    """Write `control.safetensors`, then `card.json`; no tensor of the prior is in it.

    Args:
        folder: Where.
        network: With its weights (of the moving average).
        settings: Repeated in the card.
        prior: The one it steers; known by its hash.
        scheme: Meaning of the condition's channels.
        card: Must hold `subjects`; the rest is for readers.
        half: Store in half precision; the hash is that of the rounded weights.
    """
    weights = network.state_dict()
    if half:
        weights = {name: tensor.half().float() for name, tensor in weights.items()}
    write_weights(folder / "control.safetensors", weights, half=half)
    facts = {
        "kind": "control",
        "name": "vcm",
        "settings": settings.model_dump(mode="json"),
        "scheme": scheme.to_json(),
        "num_timesteps": prior.schedule.num_timesteps,
        "prior": prior.spec.name,
        "prior_sha256": prior.card["weights_sha256"],
        "weights_sha256": hash_of_weights(weights),
        "num_parameters": sum(p.numel() for p in network.parameters()),
    }
    write_json(folder / "card.json", facts | dict(card))


def load_control(folder: Path, *, prior: Prior, device: str = "cpu") -> Control:
    """Return the control in a folder, frozen and in evaluation mode.

    Raises:
        ModelError: It was trained on another prior, or something is missing or damaged.
    """
    card = read_card(folder, kind="control")
    if card["prior_sha256"] != prior.card["weights_sha256"]:
        raise ModelError(
            f"loading control {folder}: it was trained on prior {card['prior']!r} "
            f"({card['prior_sha256'][:12]}), this is {prior.spec.name!r} "
            f"({prior.card['weights_sha256'][:12]}). Train a control on this prior."
        )
    scheme = LabelScheme.from_json(card["scheme"])
    settings = VCMSettings.model_validate(card["settings"])
    network = build_network(settings, spec=prior.spec, num_structures=scheme.num_structures)
    path = folder / "control.safetensors"
    weights = read_weights(path)
    if hash_of_weights(weights) != card["weights_sha256"]:
        raise ModelError(f"loading control {folder}: the weights' hash is not the one on the card.")
    fill_module(network, weights, source=path)
    return VCM(network.to(device), card)
