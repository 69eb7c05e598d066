"""Controls on disk: a folder is written by training and read by whoever draws."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcmaug.control.base import Control
from vcmaug.control.method import ControlMethod, control_method
from vcmaug.control.network import ControlNetwork
from vcmaug.control.shown import ShownSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.weights import (
    card_being_read,
    fill_module,
    hash_of_weights,
    read_card,
    read_weights,
    write_weights,
)

__all__ = ["load_control", "write_control"]


def write_control(
    folder: Path,
    *,
    network: ControlNetwork,
    settings: ControlMethod,
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
        "name": settings.name,
        "expects_latents": settings.expects_latents,
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
    with card_being_read(folder, kind="control"):
        shows = ShownSettings(**card.get("shown", {}))
        settings = control_method(card["settings"])
        shown = shows.part_of(LabelScheme.from_json(card["scheme"]))
    network = settings.network(prior.spec, num_structures=shown.num_structures, names=shows.names)
    path = folder / "control.safetensors"
    weights = read_weights(path)
    if hash_of_weights(weights) != card["weights_sha256"]:
        raise ModelError(f"loading control {folder}: the weights' hash is not the one on the card.")
    fill_module(network, weights, source=path)
    return Control(network.to(device), card)
