"""Scalars of a condition: volumes of its map, and age, sex and the like as asked.

It says where each column comes from, and what is done beyond the prior's range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from vcmaug.config import Settings
from vcmaug.data.scalars import ScalarSpec, raw_value
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["ScalarSettings", "ScalarSource", "Scalars", "with_scalars"]


class ScalarSource(Settings):
    """Where the values of a column come from; exactly one is given."""

    table: bool = Field(False, description="drawn from the rows of the sources")
    fixed: float | str | None = None
    sweep: tuple[float | str, ...] = Field((), description="one after the other, for each source")
    uniform: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> "ScalarSource":
        """Refuse none and several."""
        given = [self.table, self.fixed is not None, bool(self.sweep), self.uniform is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of table, fixed, sweep and uniform")
        return self


class ScalarSettings(Settings):
    """Scalars of all conditions."""

    columns: dict[str, ScalarSource] = Field(
        {}, description="of the case table, e.g. age; a column that is not listed is the source's"
    )
    out_of_range: Literal["refuse", "clip"] = Field(
        "clip", description="what happens to a scalar beyond the prior's range"
    )


@dataclass(frozen=True)
class Scalars:
    """Columns of a condition.

    Attributes:
        columns: Volumes, age, sex and the like; `scalar_<name>` is a scalar in the prior's range,
            0 at the low end and 1 at the high.
        clipped: Raw value of each scalar that lay beyond the range.
    """

    columns: Mapping[str, Any]
    clipped: Mapping[str, float]


def with_scalars(
    row: Mapping[str, Any],
    settings: ScalarSettings,
    specs: Sequence[ScalarSpec],
    *,
    table: Sequence[Mapping[str, Any]],
    turn: int,
    seed: int,
    name: str,
) -> Scalars:
    """Return a condition's columns as they are asked for, and its scalars in the prior's ranges.

    Args:
        row: With the volumes of the final map.
        settings: What is asked for.
        specs: Of the prior; none: no scalar.
        table: Rows of the sources, for columns drawn from them.
        turn: How often the source has been used before.
        seed: Of the condition.
        name: Of the condition, for messages.

    Raises:
        DataError: A scalar is out of range and out_of_range is refuse.
    """
    result = dict(row)
    for column, source in settings.columns.items():
        generator = numpy_generator(seed, "scalar", column)
        if source.table:
            result[column] = table[int(generator.integers(len(table)))].get(column)
        elif source.uniform is not None:
            result[column] = round(float(generator.uniform(*source.uniform)), 3)
        else:
            result[column] = (
                source.sweep[turn % len(source.sweep)] if source.sweep else source.fixed
            )
    clipped = {}
    for spec in specs:
        value = raw_value(spec, result)
        if value is None:
            result[f"scalar_{spec.name}"] = None
            continue
        scaled = (value - spec.low) / (spec.high - spec.low)
        if not 0.0 <= scaled <= 1.0:
            if settings.out_of_range == "refuse":
                raise DataError(
                    f"condition {name}: scalar {spec.name!r} is {value:g} {spec.unit}, the prior's "
                    f"range is {spec.low:g} to {spec.high:g}. Set scalars.out_of_range: clip, or "
                    "ask for less."
                )
            clipped[spec.name] = value
        result[f"scalar_{spec.name}"] = min(max(scaled, 0.0), 1.0)
    return Scalars(result, clipped)
