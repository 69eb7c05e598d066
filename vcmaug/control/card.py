"""The card of a control."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

from vcmaug.control.method import ControlMethod
from vcmaug.control.network import ControlNetwork
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.ldm.card import LogRow, ModelCard
from vcmaug.ldm.prior import Prior
from vcmaug.ldm.weights import hash_of_weights

__all__ = ["ControlCard", "card_of"]


def _scheme(value: Any) -> LabelScheme:
    """Return a scheme, from JSON if it is none yet."""
    try:
        return value if isinstance(value, LabelScheme) else LabelScheme.from_json(value)
    except (KeyError, TypeError) as fault:
        raise ValueError(f"no label scheme: {fault}") from None


class ControlCard(ModelCard):
    """The card of a control.

    Attributes:
        settings: The method as it was set; its name is the card's.
        scheme: Meaning of the condition's channels.
        num_timesteps: Of the schedule.
        prior: Name of the prior that it steers.
        prior_sha256: By which that prior is known.
        num_parameters: Of its network.
        shown: Channels that it sees.
        latent_scale: Of the latents it was trained on; None: the prior's.
        expects_latents: Whether a condition alone lets a draw expect latents to start from.
        started_from: Folder of the control that it started from, or None.
        log: Of its training.
        imported_from: What is known of the released file that it was made of, if there is one.
    """

    kind: Literal["control"] = "control"
    settings: ControlMethod
    scheme: Annotated[
        LabelScheme, PlainValidator(_scheme), PlainSerializer(lambda scheme: scheme.to_json())
    ]
    num_timesteps: int
    prior: str
    prior_sha256: str
    num_parameters: int = 0
    shown: ChannelSettings = ChannelSettings()
    latent_scale: float | None = None
    expects_latents: bool
    started_from: str | None = None
    log: Sequence[LogRow] = ()
    imported_from: Mapping[str, str | int] = {}


def card_of(
    network: ControlNetwork,
    *,
    method: ControlMethod,
    prior: Prior,
    scheme: LabelScheme,
    seen: Seen,
    **about: Any,
) -> ControlCard:
    """Return the card of a network on a prior, as both are now.

    Args:
        network: With its weights.
        method: Whose network it is.
        prior: The one it steers; known by its hash.
        scheme: Meaning of the condition's channels.
        seen: Of whom what was seen.
        **about: Further facts; see `ControlCard`.
    """
    return ControlCard(
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
