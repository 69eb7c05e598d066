"""Steps: what was done to make a condition or a case, as a record and as Parquet holds it.

The tables of conditions and the manifests of cohorts share this encoding: a list of structs, the
parameters of each step under the name of its builder, so that every builder keeps its own types.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

__all__ = ["Step", "common_type", "steps_of", "stored_steps", "type_of_steps"]

_CHECKS = pa.map_(pa.string(), pa.float64())


@dataclass(frozen=True)
class Step:
    """What one builder did.

    Attributes:
        builder: Its name.
        parameters: What it drew or was told, by the names of its settings where they have one;
            numbers, words, lists and mappings of these.
        checks: What was measured of the result.
    """

    builder: str
    parameters: Mapping[str, Any]
    checks: Mapping[str, float] = field(default_factory=dict)


def stored_steps(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return steps as Parquet holds them."""
    return [
        {
            "builder": step.builder,
            "parameters": {step.builder: _without_empty(step.parameters)},
            "checks": list(step.checks.items()),
        }
        for step in steps
    ]


def steps_of(stored: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return steps that were read from Parquet, maps as mappings."""
    return tuple(
        Step(
            one["builder"],
            _without_nulls((one.get("parameters") or {}).get(one["builder"]) or {}),
            dict(one["checks"]),
        )
        for one in stored
    )


def type_of_steps(rows: Iterable[Sequence[Step]]) -> pa.DataType:
    """Return the type of a column of stored steps.

    Args:
        rows: The steps of each row.

    Raises:
        pyarrow.ArrowInvalid: A name has values of two types.
    """
    recorded = [_without_empty({one.builder: one.parameters}) for row in rows for one in row]
    members = [("builder", pa.string()), ("checks", _CHECKS)]
    if any(recorded):  # Parquet has no struct without members
        members.append(("parameters", pa.infer_type(recorded)))
    return pa.list_(pa.struct(members))


def common_type(types: Iterable[pa.DataType]) -> pa.DataType:
    """Return the type that holds columns of several types, such as those of the parts of a table.

    Raises:
        pyarrow.ArrowTypeError: A name has values of two types.
    """
    schemas = [pa.schema([("steps", one)]) for one in dict.fromkeys(types)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("steps").type


def _without_empty(value: Any) -> Any:
    """Return a value with tuples as lists, and without what Parquet cannot tell from nothing."""
    if isinstance(value, Mapping):
        kept = {name: _without_empty(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one is not None and one != {}}
    if isinstance(value, list | tuple):
        return [_without_empty(one) for one in value]
    return value


def _without_nulls(value: Any) -> Any:
    """Return a value without the members of structs that other rows have."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
