"""The card of a control."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.ldm.card import LogRow, ModelCard

__all__ = ["ControlCard"]


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
