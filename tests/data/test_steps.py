"""Steps in a table: what goes in comes out, builder by builder."""

import pyarrow as pa
import pytest

from vcmaug.data.steps import Step, common_type, steps_of, stored_steps, type_of_steps

STEPS = (Step("a", {"size": 3, "names": ("x", "y")}, {"tries": 1.0}), Step("b", {"size": 0.5}))


def stored(*rows: tuple[Step, ...]) -> list:
    found = [stored_steps(row) for row in rows]
    return pa.array(found, type=type_of_steps(rows)).to_pylist(maps_as_pydicts="strict")


def test_each_builder_keeps_its_own_types() -> None:
    both, none, one = stored(STEPS, (), STEPS[:1])
    assert steps_of(both) == (Step("a", {"size": 3, "names": ["x", "y"]}, {"tries": 1.0}), STEPS[1])
    assert (steps_of(none), len(steps_of(one))) == ((), 1)
    assert set(steps_of(one)[0].parameters) == {"size", "names"}


def test_steps_without_parameters_need_none() -> None:
    assert steps_of(stored((Step("a", {}),))[0]) == (Step("a", {}),)


def test_types_of_parts_meet_or_are_refused() -> None:
    types = [type_of_steps([[Step("a", {"size": size})]]) for size in (3, 0.5, "x")]
    assert common_type(types[:2]) == types[1]
    with pytest.raises(pa.ArrowTypeError):
        common_type(types)
