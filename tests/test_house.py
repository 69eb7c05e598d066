"""The counters of benchmarks/house.py, on modules made up for them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

PARTS = '''"""What it is: parts.

Sources: none.
"""
from typing import Any, ClassVar, Literal

Row = dict[str, Any]
Arm = Literal["real", "synthetic"]
CEILING = "synthetic"


class Builder(Part):
    family: ClassVar[str] = "builder"


class Bend(Builder):
    """Bends."""

    name: Literal["bend"] = "bend"
    amount_mm: float = 1.0  # a comment
    """Of the bend."""

    def build(self, row: Row) -> "dict[str, Any]":
        """Return what is bent.

        On two lines.
        """
        assert row is not None

        if isinstance(self, Bend):  # its own file
            return row["map"]
        return row
'''

USER = """
from collections.abc import Mapping
from typing import Any

from made_up.parts import CEILING, Bend, Row

BENDING = (Bend, OtherSettings)


def use(step, arm: str, row: Row, others: Mapping[str, Any]) -> Literal["a"]:
    if isinstance(step, Bend) or isinstance(step, BENDING) or isinstance(step, str):
        row["x"] = others["y"]
    if step.name == "bend" or step.name == "unknown" or arm in ("real", "no arm"):
        return "a"
    if arm == CEILING or type(step) is Bend or hasattr(step, "amount_mm"):
        return "a"
    match step:
        case Bend():
            return "a"
    match step.name:
        case "bend":
            return "a"
"""


def load(name: str) -> ModuleType:
    """Return a module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as dataclasses and the other module look for it
    spec.loader.exec_module(module)
    return module


counts = load("house_counts")
house = load("house")


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return counts.counted(
        [counts.source("vcmaug.parts", PARTS), counts.source("vcmaug.report.user", USER)]
    )


def test_code_lines_leave_out_docstrings_comments_and_blank_lines() -> None:
    text = (
        '"""Title."""\n\n# a comment\nx = (\n    1,\n)\n"""Of x."""\n\n\ndef f():\n    """Doc."""\n'
    )
    module = counts.source("m", text)
    assert counts.code_lines(module) == 4


def test_a_length_leaves_out_the_docstring(figures: dict[str, float]) -> None:
    assert figures["functions"] == 2
    assert figures["function_max"] == 13  # use, from def to its last line
    assert figures["longest_function"] == "use"
    assert figures["function_median"] == (13 + 6) / 2  # build has 10 lines, 4 of them docstring
    assert figures["functions_over_60"] == 0


def test_switches_on_kinds_count_outside_the_file_of_the_kind(figures: dict[str, float]) -> None:
    # isinstance of Bend and of a tuple of it; == "bend"; in ("real", ...); == CEILING; type();
    # hasattr; two cases. Not str, not "unknown", nor the isinstance beside the class.
    assert figures["kind_branches"] == 9


def test_untyped_tables_count_with_their_aliases(figures: dict[str, float]) -> None:
    assert figures["dict_str_any"] == 4  # alias, its two uses, a quoted one
    assert figures["mapping_str_any"] == 1
    assert figures["assert_is_not_none"] == 1


def test_string_subscripts_of_tables_stand_apart(figures: dict[str, float]) -> None:
    assert figures["string_subscripts"] == 3  # no Literal["a"]
    assert figures["string_subscripts_of_tables"] == 2
    lines = len((PARTS + USER).splitlines())
    assert figures["string_subscripts_per_1000_lines"] == round(1000 / lines, 2)


def test_the_old_form_of_docstrings_is_counted(figures: dict[str, float]) -> None:
    assert (figures["what_it_is"], figures["sources_none"]) == (1, 1)


def test_an_import_up_or_across_a_floor_counts() -> None:
    floors = {"cli": (0, False), "left": (-1, False), "right": (-1, False), "data": (-2, True)}
    assert house.is_up("vcmaug.data.x", "vcmaug.cli.y", floors)
    assert house.is_up("vcmaug.left.x", "vcmaug.right", floors)
    assert not house.is_up("vcmaug.cli", "vcmaug.data.x", floors)
    assert not house.is_up("vcmaug.left.x", "vcmaug.left.y", floors)


def test_a_ratio_is_this_tree_over_the_other() -> None:
    here, there = {"a": 1, "b": 2.0, "c": "x", "d": 3}, {"a": 2, "b": 0.0, "c": "y"}
    assert house.ratios(here, there) == {"a": 0.5}
