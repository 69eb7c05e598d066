"""`modalities`: which channels of a case a condition shows.

Every asked-for subset of label map, lesion mask, partial image and other sequences; as a rule the
last builder of a chain.

Notes:
    A channel that a case lacks, or that a subset leaves out, is absent: it has no file, and the
    record says so. It is not a volume of zeros, since zeros are an image too.
"""

import itertools
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, field_validator

from vcmaug.conditions.base import LABEL_MAP, Condition, Step
from vcmaug.conditions.builder import Builder, Ready, aligned_image, unknown_structures
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["ChannelChoice", "Modalities", "subsets_of"]

Subset = tuple[str, ...]
Subsets = str | tuple[Subset, ...] | dict[str, float]


class PartialSettings(Settings):
    """Which part of an image is shown."""

    remove: tuple[str, ...] = Field((), description="structures whose voxels are hidden")
    keep: tuple[str, ...] = Field((), description="structures outside of which all is hidden")


class Modalities(Builder):
    """The channels, and the subsets of them to use."""

    name: Literal["modalities"] = "modalities"
    channels: tuple[str, ...] = Field(
        min_length=1,
        description="label_map, image, another image of the cases, or a builder's (lesion, lowres)",
    )
    subsets: Subsets = Field(
        "all",
        description="all: one with every channel; each: each alone; at-most-2: all of one or two; "
        "a list of lists, of which [] shows nothing; or a probability per channel",
    )
    partial: dict[str, PartialSettings] = Field({}, description="by image channel")

    @field_validator("subsets")
    @classmethod
    def _is_known(cls, value: Subsets) -> Subsets:
        """Refuse unknown words, an empty list of subsets, and values that are not probabilities."""
        if isinstance(value, str):
            if not re.fullmatch(r"all|each|at-most-[1-9]\d*", value):
                raise ValueError("expected all, each, at-most-K, a list of lists, or probabilities")
        elif isinstance(value, dict):
            if any(not 0 <= share <= 1 for share in value.values()) or not any(value.values()):
                raise ValueError("expected probabilities from 0 to 1, one of them above 0")
        elif not value:
            raise ValueError("expected a list of lists of channels, at least one of them")
        return value

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return structures that are not in the scheme, and channels that are not listed."""
        hidden = [name for one in self.partial.values() for name in (*one.remove, *one.keep)]
        named = {*self.partial}
        if isinstance(self.subsets, dict):
            named |= {*self.subsets}
        elif not isinstance(self.subsets, str):
            named |= {name for subset in self.subsets for name in subset}
        return [
            *unknown_structures({"partial": hidden}, structures),
            *(f"{name!r} is not among its channels" for name in sorted(named - {*self.channels})),
        ]

    def passes_on(self, made: Set[str]) -> Set[str]:
        """Return the channels that are images of the source."""
        return set(self.channels) - {LABEL_MAP} - made

    def channels_after(self, before: Sequence[str]) -> tuple[str, ...]:
        """Return its channels: those before it that it does not list are not shown."""
        del before
        return self.channels

    def for_training(self) -> Self:
        """Return the builder that shows all channels."""
        return self.model_copy(update={"subsets": "all"})

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what chooses channels; it learns nothing."""
        return ChannelChoice(self, scheme)


def subsets_of(settings: Modalities) -> tuple[Subset, ...]:
    """Return the asked-for subsets in their order; none where they are drawn by probability.

    Examples:
        >>> subsets_of(Modalities(channels=("label_map", "image"), subsets="at-most-2"))
        (('label_map',), ('image',), ('label_map', 'image'))
    """
    channels, asked = settings.channels, settings.subsets
    if isinstance(asked, dict):
        return ()
    if not isinstance(asked, str):
        return asked
    if asked == "all":
        return (channels,)
    most = 1 if asked == "each" else int(asked[8:])
    return tuple(
        subset
        for size in range(1, min(most, len(channels)) + 1)
        for subset in itertools.combinations(channels, size)
    )


@dataclass(frozen=True)
class ChannelChoice:
    """Chooses channels of conditions.

    Attributes:
        settings: Channels and subsets.
        scheme: Of the label maps.
    """

    settings: Modalities
    scheme: LabelScheme

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with those channels that its subset names and its case has.

        Subsets take turns: a source shows the first, then the second, and so on.

        Raises:
            DataError: The case has none of the channels of its subset.
        """
        chosen = self._chosen(condition, seed)
        channels = {}
        for name in chosen:
            if name == LABEL_MAP:
                continue
            if name in condition.channels:
                channels[name] = condition.channels[name]
            elif name in condition.source.images:
                channels |= self._image(condition, name)
        shown = {*channels, *({LABEL_MAP} & set(chosen))}
        if chosen and not shown:
            raise DataError(
                f"condition {condition.condition_id}: case {condition.source.case_id} has none of "
                f"the channels {', '.join(chosen)}. Leave the case or the subset out."
            )
        presence = {name: name in shown for name in self.settings.channels}
        step = Step(self.settings.name, {"asked": list(chosen), "presence": presence}, {})
        return condition.changed(step, channels=channels, presence=presence)

    def _chosen(self, condition: Condition, seed: int) -> Subset:
        """Return the subset of a condition."""
        asked = self.settings.subsets
        if not isinstance(asked, dict):
            subsets = subsets_of(self.settings)
            return subsets[condition.turn % len(subsets)]
        generator = numpy_generator(seed, "modalities")
        while True:  # ends: one probability is above 0
            drawn = generator.random(len(self.settings.channels))
            chosen = tuple(
                name
                for name, value in zip(self.settings.channels, drawn, strict=True)
                if value < asked.get(name, 1.0)
            )
            if chosen:
                return chosen

    def _image(self, condition: Condition, name: str) -> dict[str, Volume]:
        """Return an image channel; of a partial one also which voxels are known."""
        image = aligned_image(condition, name)
        partial = self.settings.partial.get(name)
        if partial is None:
            return {name: image}
        labels = condition.label_map.array
        hidden = np.isin(labels, self.scheme.only(partial.remove).values)
        if partial.keep:
            hidden |= ~np.isin(labels, self.scheme.only(partial.keep).values)
        known = Volume((~hidden).astype(np.uint8), image.affine)
        shown = Volume(np.where(hidden, 0, image.array).astype(np.float32), image.affine)
        return {name: shown, f"{name}_known": known}
