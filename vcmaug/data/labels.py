"""Label schemes: what the integers of a label map mean, and the ways to channels and back.

Every label map is read, checked, drawn and scored through a scheme: names, values and colours of
its structures. The colours are Paul Tol's bright and muted palettes, safe for colour-blind eyes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from vcmaug.errors import DataError, list_faults

__all__ = [
    "LabelScheme",
    "Structure",
    "relabelled",
    "volumes_mm3",
]

_PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#332288", "#ddcc77",
    "#117733", "#882255", "#44aa99", "#999933",
)  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """One structure: its name, its value in label maps, its colour in pictures (#rrggbb)."""

    name: str
    value: int
    colour: str


@dataclass(frozen=True)
class LabelScheme:
    """The structures of a label map, in the order of their channels; 0 is the background.

    Attributes:
        structures: In prepared label maps their values are the channel numbers 1..K.
        source_values: The user's own values, in channel order; empty: the same values.
    """

    structures: tuple[Structure, ...]
    source_values: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def from_mapping(cls, values: Mapping[str, int]) -> "LabelScheme":
        """Return a scheme from name -> value, with colours in order.

        Raises:
            DataError: There is no structure, or values are not positive and distinct.

        Examples:
            >>> LabelScheme.from_mapping({"anterior": 1, "posterior": 2}).names
            ('anterior', 'posterior')
        """
        faults = [
            f"{name}: value {value}, expected a positive integer (0 is the background)"
            for name, value in values.items()
            if value <= 0
        ]
        if len(set(values.values())) != len(values):
            faults.append("two structures share one value")
        if not values:
            faults.append("there is no structure")
        if faults:
            raise DataError(list_faults("reading a label scheme", faults))
        return cls(
            tuple(
                Structure(name, int(value), _PALETTE[place % len(_PALETTE)])
                for place, (name, value) in enumerate(values.items())
            )
        )

    @classmethod
    def numbered(cls, source_values: Mapping[str, int]) -> "LabelScheme":
        """Return the scheme of prepared label maps: values 1..K in the order of the names.

        Args:
            source_values: Name -> value in the user's own label maps.

        Raises:
            DataError: There is no structure, or values are not positive and distinct.

        Examples:
            >>> scheme = LabelScheme.numbered({"liver": 5, "spleen": 2})
            >>> scheme.values, scheme.source_values
            ((1, 2), (5, 2))
        """
        checked = cls.from_mapping(source_values)
        numbers = cls.from_mapping({name: k for k, name in enumerate(checked.names, start=1)})
        return cls(numbers.structures, source_values=checked.values)

    @classmethod
    def from_json(cls, content: object, *, source_values: Sequence[int] = ()) -> "LabelScheme":
        """Return the scheme that `to_json` wrote, with the user's own values if they are known."""
        return cls(_STRUCTURES.validate_python(content), source_values=tuple(source_values))

    def to_json(self) -> list[dict[str, str | int]]:
        """Return the scheme as JSON-like content."""
        return [asdict(structure) for structure in self.structures]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the structures, in channel order."""
        return tuple(structure.name for structure in self.structures)

    @property
    def values(self) -> tuple[int, ...]:
        """Values of the structures, in channel order."""
        return tuple(structure.value for structure in self.structures)

    def only(self, names: Sequence[str]) -> "LabelScheme":
        """Return the scheme of some of the structures, in this scheme's order."""
        return LabelScheme(tuple(one for one in self.structures if one.name in names))

    @property
    def num_structures(self) -> int:
        """K, the number of condition channels."""
        return len(self.structures)

    def channels(self, label_map: NDArray[Any]) -> NDArray[np.uint8]:
        """Return channel numbers from 1, 0 for the background, uint8 [X, Y, Z].

        Args:
            label_map: Values of the scheme, integers [X, Y, Z]; at most 255 structures.
        """
        numbers = {value: number for number, value in enumerate(self.values, start=1)}
        return relabelled(label_map, numbers).astype(np.uint8)

    def label_map(self, channels: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the values of the scheme, uint16 [X, Y, Z], of channel numbers [X, Y, Z]."""
        return relabelled(channels, dict(enumerate(self.values, start=1)))

    def in_source_values(self, label_map: NDArray[Any]) -> NDArray[np.uint16]:
        """Return a label map of this scheme in the user's own values, uint16 [X, Y, Z]."""
        own = self.source_values or self.values
        return relabelled(label_map, dict(zip(self.values, own, strict=True)))

    def unknown_values(self, label_map: NDArray[Any]) -> tuple[int, ...]:
        """Return the values in a label map that are neither background nor in the scheme."""
        found = {int(value) for value in np.unique(label_map)}
        return tuple(sorted(found - {0, *self.values}))


_STRUCTURES = TypeAdapter(tuple[Structure, ...])


def relabelled(label_map: NDArray[Any], values: Mapping[int, int]) -> NDArray[np.uint16]:
    """Return a label map, uint16 [X, Y, Z], with new values for old ones; all others become 0."""
    table = np.zeros(max(int(label_map.max(initial=0)), *values, 0) + 1, dtype=np.uint16)
    table[list(values)] = list(values.values())
    found: NDArray[np.uint16] = table[label_map]
    return found


def volumes_mm3(
    label_map: NDArray[Any], scheme: LabelScheme, spacing_mm: Sequence[float]
) -> dict[str, float]:
    """Return the volume of each structure in mm3."""
    voxel_mm3 = float(np.prod(np.asarray(spacing_mm, dtype=float)))
    counts = np.bincount(label_map.ravel(), minlength=max(scheme.values) + 1)
    return {one.name: float(counts[one.value]) * voxel_mm3 for one in scheme.structures}
