"""Controls on disk: from settings to a new one, from a folder to a trained one.

What it is: the one place that knows which controls there are.
In the flow: `training/control.py` writes what generation's workers load.
Sources: none beyond the controls' own.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag, TypeAdapter

from vcmaug.control.base import Control, ControlNetwork
from vcmaug.control.controlnet import ControlNetNetwork, ControlNetSettings
from vcmaug.control.controlnet_lite import ControlNetLiteNetwork, ControlNetLiteSettings
from vcmaug.control.mcm import MCMNetwork, MCMSettings
from vcmaug.control.shown import ALONE, ShownSettings, parts_of
from vcmaug.control.t2i_adapter import T2IAdapterNetwork, T2IAdapterSettings
from vcmaug.control.vcm import VCMNetwork, VCMSettings
from vcmaug.control.vcm_released import VCMReleasedNetwork, VCMReleasedSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError
from vcmaug.files import write_json
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import (
    card_being_read,
    fill_module,
    hash_of_weights,
    read_card,
    read_weights,
    write_weights,
)

__all__ = [
    "METHODS",
    "ControlSettings",
    "build_network",
    "control_settings",
    "load_control",
    "method_of",
    "write_control",
]

METHODS = (
    "vcm",
    "vcm_released",
    "controlnet",
    "controlnet_lite",
    "controlnet_mlp",
    "t2i_adapter",
    "mcm",
)


def method_of(name: str) -> str:
    """Return a method's name with underscores; hyphens may stand for them.

    Examples:
        >>> method_of("vcm-released")
        'vcm_released'
    """
    return name.replace("-", "_")


def _with_underscores(value: Any) -> Any:
    """Return settings that name their method as `METHODS` does."""
    name = value.get("method") if isinstance(value, Mapping) else None
    return {**value, "method": method_of(name)} if isinstance(name, str) else value


def _method_of(value: Any) -> str:
    """Return the method that settings name; VCM where they name none."""
    return str(value.get("method", "vcm") if isinstance(value, Mapping) else value.method)


ControlSettings = Annotated[
    Annotated[VCMSettings, Tag("vcm")]
    | Annotated[VCMReleasedSettings, Tag("vcm_released")]
    | Annotated[ControlNetSettings, Tag("controlnet")]
    | Annotated[ControlNetLiteSettings, Tag("controlnet_lite")]
    | Annotated[ControlNetLiteSettings, Tag("controlnet_mlp")]
    | Annotated[T2IAdapterSettings, Tag("t2i_adapter")]
    | Annotated[MCMSettings, Tag("mcm")],
    Discriminator(_method_of),
    BeforeValidator(_with_underscores),
]
"""The networks of any control, by `method`."""

_SETTINGS: TypeAdapter[Any] = TypeAdapter(ControlSettings)


def control_settings(content: Mapping[str, Any]) -> Any:
    """Return the settings of a control from a card or a recipe."""
    return _SETTINGS.validate_python(dict(content))


def build_network(
    settings: Any, *, spec: PriorSpec, num_structures: int, names: Sequence[str] = ALONE
) -> ControlNetwork:
    """Return a new control network for a prior; all but `vcm_released` are the identity.

    Args:
        settings: One of `ControlSettings`.
        spec: Of the prior.
        num_structures: K, of the label map.
        names: Channels that it is shown; all but VCM see them as one image of many components.

    Raises:
        ModelError: The condition's encoder does not end on the prior's latent grid.
    """
    if isinstance(settings, VCMSettings):
        return VCMNetwork(settings, num_structures=num_structures, spec=spec, names=names)
    num_structures = max(part.stop for part in parts_of(names, num_structures).values())
    if isinstance(settings, T2IAdapterSettings):
        return T2IAdapterNetwork(num_structures=num_structures, spec=spec)
    return _OTHERS[type(settings)](settings, num_structures=num_structures, spec=spec)


_OTHERS: Mapping[type, Callable[..., ControlNetwork]] = {
    VCMReleasedSettings: VCMReleasedNetwork,
    ControlNetSettings: ControlNetNetwork,
    ControlNetLiteSettings: ControlNetLiteNetwork,
    MCMSettings: MCMNetwork,
}


def write_control(
    folder: Path,
    *,
    network: ControlNetwork,
    settings: Any,
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
        "name": settings.method,
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
        settings = control_settings(card["settings"])
        shown = shows.part_of(LabelScheme.from_json(card["scheme"]))
    network = build_network(
        settings, spec=prior.spec, num_structures=shown.num_structures, names=shows.names
    )
    path = folder / "control.safetensors"
    weights = read_weights(path)
    if hash_of_weights(weights) != card["weights_sha256"]:
        raise ModelError(f"loading control {folder}: the weights' hash is not the one on the card.")
    fill_module(network, weights, source=path)
    return Control(network.to(device), card)
