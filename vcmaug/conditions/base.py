"""The records of this room and the one face of all builders.

What it is: a source map, a condition, and the protocol between them.
In the flow: labelled cases become source maps, a builder makes conditions of them.
Sources: none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.volume import Volume

__all__ = ["Builder", "Condition", "SourceMap", "recomputed"]


@dataclass(frozen=True)
class SourceMap:
    """A labelled case as a builder sees it: its label map and its row of the case table."""

    case_id: str
    subject_id: str
    label_map: Volume
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """What to ask for, and the record from which it can be made again.

    Attributes:
        condition_id: Unique in its table.
        label_map: The map to draw an image for.
        row: Columns for scalars: volumes recomputed from the map, age and sex of the source.
        source_case_ids: Every case that went into it.
        source_subject_ids: Their subjects.
        builder: Name of the builder.
        parameters: What the builder drew, JSON-like.
        seed: From which it drew.
        checks: What was measured of the result, e.g. the least Jacobian determinant.
    """

    condition_id: str
    label_map: Volume
    row: Mapping[str, Any]
    source_case_ids: tuple[str, ...]
    source_subject_ids: tuple[str, ...]
    builder: str
    parameters: Mapping[str, Any]
    seed: int
    checks: Mapping[str, float]


class Builder(Protocol):
    """Makes conditions of source maps; a pure function of source and seed."""

    @property
    def name(self) -> str:
        """Name in recipes and manifests."""
        ...

    def build(self, source: SourceMap, *, condition_id: str, seed: int) -> Condition:
        """Return one condition."""
        ...


def recomputed(
    row: Mapping[str, Any],
    label_map: Volume,
    *,
    scheme: LabelScheme,
    inherit: Sequence[str] = ("age", "sex"),
) -> dict[str, Any]:
    """Return a condition's columns for scalars: some of the source's, and volumes in mm3.

    Args:
        row: Of the source.
        label_map: The new map, whose volumes count.
        scheme: Of the map.
        inherit: Columns taken over from the source, where it has them.
    """
    kept = {name: row[name] for name in inherit if name in row}
    volumes = volumes_mm3(label_map.array, scheme, label_map.spacing_mm)
    return kept | {f"volume_{name}_mm3": volume for name, volume in volumes.items()}
