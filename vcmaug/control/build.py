"""Controls on disk: a folder is written by training and read by whoever draws."""

from dataclasses import replace
from pathlib import Path

from vcmaug.control.base import Control
from vcmaug.control.card import ControlCard
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.card import read_card
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.weights import fill_module, hash_of_weights, read_weights, write_weights

__all__ = ["load_control", "rescaled", "write_control"]


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
