"""Which channels a control is shown, how they are made of a training case, and where they lie.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826 (one encoder per condition modality, modalities left out
    at random in training).

Notes:
    Each channel but a label map that stands alone ends in a mask of where it is known; a channel
    that is absent is unknown everywhere, which zeros in its values would not say.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from vcmaug.conditions.base import LABEL_MAP, SourceMap, as_it_is
from vcmaug.conditions.builder import Builder
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import ModelError
from vcmaug.seeding import stable_seed

__all__ = [
    "ALONE",
    "ChannelSettings",
    "channels_for",
    "stacked_channels",
    "is_shown",
    "parts_of",
    "width_of",
]

ALONE = (LABEL_MAP,)
"""The label map alone."""


class ChannelSettings(Settings):
    """Which channels a control is trained to see, and how often each is left out."""

    steps: tuple[Builder, ...] = Field(
        (), description="builders that make the channels; none: the label map alone"
    )
    drop: float = Field(0.3, ge=0, lt=1, description="probability of leaving a channel out")
    structures: tuple[str, ...] = Field(
        (), description="of the label map that are shown, such as the ventricles alone; none: all"
    )

    @field_validator("steps")
    @classmethod
    def _leave_the_map(cls, steps: tuple[Builder, ...]) -> tuple[Builder, ...]:
        """Refuse builders that change the map: a control learns of cases as they are."""
        for step in steps:
            if step.will_move != "nothing":
                raise ValueError(f"{step.name} changes label maps; name builders of channels alone")
        return steps

    @property
    def names(self) -> tuple[str, ...]:
        """The channels, in the order of the tensor."""
        names: tuple[str, ...] = ALONE
        for step in self.steps:
            names = step.channels_after(names)
        return names

    def part_of(self, scheme: LabelScheme) -> LabelScheme:
        """Return the scheme of the structures that are shown.

        Raises:
            ModelError: One of them is not in the scheme.
        """
        unknown = [name for name in self.structures if name not in scheme.names]
        if unknown:
            raise ModelError(
                f"what a control is shown: the structures {unknown} are not among {scheme.names}. "
                "Name structures of the scheme, or none for all."
            )
        return scheme.only(self.structures) if self.structures else scheme


def parts_of(names: Sequence[str], num_structures: int) -> dict[str, slice]:
    """Return where each channel lies in the tensor.

    Examples:
        >>> parts_of(("label_map", "image"), 2)
        {'label_map': slice(0, 3, None), 'image': slice(3, 5, None)}
        >>> parts_of(("label_map",), 2)
        {'label_map': slice(0, 2, None)}
    """
    if tuple(names) == ALONE:
        return {LABEL_MAP: slice(0, num_structures)}
    parts, first = {}, 0
    for name in names:
        width = num_structures + 1 if name == LABEL_MAP else 2
        parts[name] = slice(first, first + width)
        first += width
    return parts


def width_of(names: Sequence[str], num_structures: int) -> int:
    """Return how many components the tensor has: all channels as one image.

    Examples:
        >>> width_of(("label_map", "image"), 2), width_of(("label_map",), 2)
        (5, 2)
    """
    width: int = max(part.stop for part in parts_of(names, num_structures).values())
    return width


def channels_for(
    source: SourceMap, settings: ChannelSettings, scheme: LabelScheme, *, seed: int
) -> Mapping[str, Volume]:
    """Return every channel that a control is trained to see besides the label map.

    Args:
        source: A training case with its images.
        settings: The channels.
        scheme: Of the label map.
        seed: Of what the builders draw, such as the distance of slices.

    Raises:
        DataError: An image is missing or cannot be used; see the builders.
    """
    condition = as_it_is(source, condition_id=f"training case {source.case_id}")
    for number, step in enumerate(settings.steps):
        builder = step.for_training().ready(scheme)
        condition = builder.build(condition, seed=stable_seed(seed, "shown", number))
    return condition.channels


def stacked_channels(
    channels: Mapping[str, NDArray[np.generic]], names: Sequence[str], shape: Sequence[int]
) -> NDArray[np.float32]:
    """Return value and mask of each channel but the label map, float32 [2 M, X, Y, Z].

    Args:
        channels: Volumes by name, with masks `<name>_known` where a part is hidden.
        names: The channels, in order; those that are absent stay unknown.
        shape: Of the grid.
    """
    images = [name for name in names if name != LABEL_MAP]
    result = np.zeros((2 * len(images), *shape), dtype=np.float32)
    for number, name in enumerate(images):
        if name in channels:
            known = channels.get(f"{name}_known", np.ones(tuple(shape), dtype=np.uint8))
            result[2 * number] = np.where(known, channels[name], 0)
            result[2 * number + 1] = known
    return result


def is_shown(name: str, presence: Mapping[str, bool]) -> bool:
    """Return whether a channel, or the one that a mask belongs to, is shown."""
    return presence.get(name.removesuffix("_known"), True)
