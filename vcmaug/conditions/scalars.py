"""Scalars of a condition: volumes of its map, and age, sex and the like as asked.

It says where each column comes from, and what is done beyond the prior's range.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from vcmaug.conditions.base import Cell
from vcmaug.config import Settings
from vcmaug.data.scalars import ScalarSpec, raw_value
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["ScalarSettings", "ScalarSource"]


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

    def applied(
        self, row: Mapping[str, Cell], *, table: Sequence[Mapping[str, Cell]], turn: int, seed: int
    ) -> dict[str, Cell]:
        """Return a condition's columns as they are asked for.

        Args:
            row: With the volumes of the final map.
            table: Rows of the sources, for columns drawn from them.
            turn: How often the source has been used before.
            seed: Of the condition.
        """
        result = dict(row)
        for column, source in self.columns.items():
            generator = numpy_generator(seed, "scalar", column)
            if source.table:
                result[column] = table[int(generator.integers(len(table)))].get(column)
            elif source.uniform is not None:
                result[column] = round(float(generator.uniform(*source.uniform)), 3)
            elif source.sweep:
                result[column] = source.sweep[turn % len(source.sweep)]
            else:
                result[column] = source.fixed
        return result

    def in_range(
        self, row: Mapping[str, Cell], specs: Sequence[ScalarSpec], *, name: str
    ) -> tuple[dict[str, Cell], dict[str, float]]:
        """Return columns with a prior's scalars in their ranges, and the raw values beyond them.

        Args:
            row: As it is asked for; `scalar_<name>` is added for each scalar, 0 at the low end of
                its range and 1 at the high.
            specs: Of the prior; none: no scalar.
            name: Of the condition, for messages.

        Raises:
            DataError: A scalar is out of range and out_of_range is refuse.
        """
        result, clipped = dict(row), {}
        for spec in specs:
            value = raw_value(spec, row)
            scaled = None if value is None else (value - spec.low) / (spec.high - spec.low)
            if value is not None and scaled is not None and not 0.0 <= scaled <= 1.0:
                if self.out_of_range == "refuse":
                    raise DataError(
                        f"condition {name}: scalar {spec.name!r} is {value:g} {spec.unit}, the "
                        f"prior's range is {spec.low:g} to {spec.high:g}. Set "
                        "scalars.out_of_range: clip, or ask for less."
                    )
                clipped[spec.name] = value
                scaled = min(max(scaled, 0.0), 1.0)
            result[f"scalar_{spec.name}"] = scaled
        return result, clipped
