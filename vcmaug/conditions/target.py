"""What an image is drawn for: a label map, scalars and other channels, without provenance.

A drawer needs nothing else of a condition, so a condition in memory, one that was read from a
folder, and a case's own label map all serve as targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.volume import Volume

__all__ = ["Drawable", "Target"]


class Drawable(Protocol):
    """Anything that an image can be drawn for; `Target` says what the attributes mean."""

    @property
    def condition_id(self) -> str:
        """Its name."""
        ...

    @property
    def label_map(self) -> Volume | None:
        """The label map."""
        ...

    @property
    def channels(self) -> Mapping[str, Volume]:
        """Further volumes by name."""
        ...

    @property
    def presence(self) -> Mapping[str, bool]:
        """Which channels are shown."""
        ...

    def values_of(self, scalars: Sequence[ScalarSpec]) -> Mapping[str, float | None]:
        """Return the raw values of a prior's scalars by name; None, or no entry, is missing."""
        ...


@dataclass(frozen=True)
class Target:
    """What one image is drawn for.

    Attributes:
        label_map: Values of the control's scheme on the prior's grid; None for a draw without a
            control.
        scalars: Raw values by name; None, or no entry, is missing.
        channels: Further volumes on the map's grid that a control is shown, by name, with masks
            `<name>_known` where a part is hidden.
        presence: Which channels are shown; one without an entry is shown where it is there.
        condition_id: Its name, from which the noise of a single draw comes.
    """

    label_map: Volume | None = None
    scalars: Mapping[str, float | None] = field(default_factory=dict)
    channels: Mapping[str, Volume] = field(default_factory=dict)
    presence: Mapping[str, bool] = field(default_factory=dict)
    condition_id: str = ""

    def values_of(self, scalars: Sequence[ScalarSpec]) -> Mapping[str, float | None]:
        """Return the raw values of a prior's scalars by name; None, or no entry, is missing."""
        del scalars
        return self.scalars
