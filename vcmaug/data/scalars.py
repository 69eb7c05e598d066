"""Scalars: age, sex and volumes, from the case table to the vector a prior reads.

Priors are trained on them, and conditions bring them along, recomputed from their label map.

Notes:
    A missing scalar is replaced by the median over the prior's training cases that have it, or by
    the middle of its range if none has; the fill values stand in the prior's card. A scalar farther
    outside its range than half the range's width is refused: it is a wrong unit or a wrong column.

References:
    Pinaya et al. 2022, arXiv 2209.07162 (four scalars in [0, 1]).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from vcmaug.config import Settings
from vcmaug.data.case import Case, Cell, is_measured_column
from vcmaug.data.sides import other_side
from vcmaug.data.text_table import is_missing
from vcmaug.errors import DataError

__all__ = [
    "ScalarSpec",
    "asked_value",
    "median_fill",
    "missing_columns",
    "raw_value",
    "scalar_faults",
    "scalar_vector",
]


class ScalarSpec(Settings):
    """One scalar: its name, its range, and where it comes from."""

    name: str
    low: float = Field(description="becomes 0")
    high: float = Field(description="becomes 1")
    unit: str = ""
    column: str | None = Field(None, description="column of the case table")
    structures: tuple[str, ...] = Field((), description="sum of their volumes in mm3")
    codes: dict[Annotated[str, BeforeValidator(str)], float] = Field(
        {}, description="numbers for what the column holds, e.g. {F: 0, M: 1} or {1: 0, 2: 1}"
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ScalarSpec":
        """Refuse a scalar with no source or two, or with an empty range."""
        if (self.column is None) == (not self.structures):
            raise ValueError(f"scalar {self.name!r} needs either column or structures")
        if self.high <= self.low:
            raise ValueError(f"scalar {self.name!r}: high must be above low")
        return self

    def code_of(self, cell: Cell) -> float | None:
        """Return the number for a cell, None if it has no code; 1, 1.0 and '1' are the same."""
        return {_plain(key): code for key, code in self.codes.items()}.get(_plain(cell))

    @property
    def is_measured(self) -> bool:
        """Whether it is measured on label maps, so that who reads it has seen labels."""
        return bool(self.structures) or is_measured_column(str(self.column))

    def mirrored(self) -> "ScalarSpec":
        """Return where the scalar of a mirrored case comes from: columns of the other side."""
        column = None if self.column is None else other_side(self.column)
        structures = tuple(map(other_side, self.structures))
        return self.model_copy(update={"column": column, "structures": structures})


def raw_value(spec: ScalarSpec, row: Mapping[str, Cell]) -> float | None:
    """Return the scalar of one row of a case or condition table in its own unit, None if missing.

    Raises:
        DataError: The column holds what has no code, or without codes what is no number.
    """
    if spec.structures:
        parts = [_number(row.get(f"volume_{name}_mm3")) for name in spec.structures]
        return None if None in parts else float(sum(part for part in parts if part is not None))
    value = row.get(str(spec.column))
    code = spec.code_of(value)
    if code is not None or is_missing(value):
        return code
    number = math.nan
    if not spec.codes:
        with suppress(ValueError):
            number = float(str(value))
    if not math.isfinite(number):
        known = ", ".join(spec.codes) or "numbers"
        raise DataError(
            f"scalar {spec.name!r}, column {spec.column!r}: found {value!r}, expected {known}."
        )
    return number


def scalar_faults(specs: Sequence[ScalarSpec], cases: Iterable[Case]) -> list[str]:
    """Return which cells of scalars cannot be read, a sentence for each."""
    faults = []
    for case in cases:
        for spec in specs:
            try:
                raw_value(spec, case.columns)
            except DataError as fault:
                faults.append(
                    f"case {case.case_id}, {fault} Correct the table and prepare it again, or give "
                    "the value a code"
                )
    return faults


def missing_columns(specs: Sequence[ScalarSpec], cases: Iterable[Case]) -> list[str]:
    """Return which columns of scalars no case has, a sentence for each."""
    known = dict.fromkeys(name for case in cases for name in case.source)
    return [
        f"scalar {spec.name!r}: no case has a column {spec.column!r}; the table has "
        f"{', '.join(known) or 'no column'}"
        for spec in specs
        if spec.column is not None and spec.column not in known
    ]


def asked_value(spec: ScalarSpec, row: Mapping[str, Cell]) -> float | None:
    """Return the scalar of a condition in its own unit, within the range if it was clipped."""
    scaled = _number(row.get(f"scalar_{spec.name}"))
    if scaled is None:
        return raw_value(spec, row)
    return spec.low + scaled * (spec.high - spec.low)


def _number(value: object) -> float | None:
    """Return a number, or None for an empty cell."""
    return None if is_missing(value) else float(str(value))


def _plain(cell: object) -> str:
    """Return a cell as text, a number the same however it is written."""
    try:
        return repr(float(str(cell)))
    except ValueError:
        return str(cell).strip()


def median_fill(
    specs: Sequence[ScalarSpec], rows: Sequence[Mapping[str, Cell]]
) -> dict[str, float]:
    """Return what replaces a missing scalar: its median over rows, else the middle of its range."""
    fill = {}
    for spec in specs:
        found = [value for row in rows if (value := raw_value(spec, row)) is not None]
        fill[spec.name] = float(np.median(found)) if found else (spec.low + spec.high) / 2
    return fill


def scalar_vector(
    specs: Sequence[ScalarSpec],
    values: Mapping[str, float | None],
    *,
    fill: Mapping[str, float],
) -> NDArray[np.float32]:
    """Return (value - low) / (high - low) for each scalar, float32 [S]; not clipped.

    Args:
        specs: In the order of the prior.
        values: Raw values by name; None or absent means missing.
        fill: What replaces a missing one, in its own unit.

    Raises:
        DataError: A value lies farther outside its range than half the range's width.
    """
    result = []
    for spec in specs:
        value = values.get(spec.name)
        scaled = ((fill[spec.name] if value is None else value) - spec.low) / (spec.high - spec.low)
        if not -0.5 <= scaled <= 1.5:
            raise DataError(
                f"scalar {spec.name!r}: found {value:g} {spec.unit}, expected about {spec.low:g} "
                f"to {spec.high:g}. Check the unit and the column."
            )
        result.append(scaled)
    return np.array(result, dtype=np.float32)
