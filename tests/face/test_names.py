"""The names of the face: a list that is held, each found where it is said to be, none heavy."""

import ast
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest

import vcmaug as va
import vcmaug.generate.plan as plan_of_cohort
from vcmaug import doors
from vcmaug.generate.plan import GenerateSettings


def test_every_name_is_there_and_dir_is_the_list() -> None:
    assert [name for name in va.__all__ if not hasattr(va, name)] == []
    assert dir(va) == sorted(va.__all__)
    assert len(set(va.__all__)) == len(va.__all__)


def test_type_checkers_are_told_the_same_names_from_the_same_places() -> None:
    tree = ast.parse(Path(va.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(told) == set(va.__all__) - {"__version__"}
    for name, module in told.items():
        assert getattr(va, name) is getattr(va, name)  # kept, once found
        if name not in va._PACKAGES:
            assert va._PLACES[name] == module


def test_an_unknown_name_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Grdi'"):
        va.Grdi  # noqa: B018
    assert not hasattr(va, "__wrapped__")


@pytest.mark.parametrize("before", ["", "import vcmaug.conditions.chain, vcmaug.generate.plan"])
def test_packages_are_called_whether_or_not_they_were_imported(before: str) -> None:
    words = f"""
{before}
import sys
import vcmaug as va
assert before or "vcmaug.conditions" not in sys.modules
for package in map(va.__getattr__, sorted(va._PACKAGES)):
    try:
        package()
    except TypeError as fault:
        assert "missing" in str(fault), fault
    else:
        raise AssertionError(package)
""".replace("assert before", f"assert {bool(before)}")
    subprocess.run([sys.executable, "-c", words], check=True)


def test_a_package_that_is_called_stays_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import vcmaug.conditions as package

    assert isinstance(package, types.ModuleType)
    assert "cases" in str(package.__signature__)
    monkeypatch.setattr("vcmaug.face.conditions.conditions", lambda *args, **more: (args, more))
    assert va.conditions(1, n=2) == ((1,), {"n": 2})
    monkeypatch.setattr("vcmaug.generate.plan.Request", "changed")
    assert plan_of_cohort.Request == "changed"
    settings = GenerateSettings(strength=2.0)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_what_stands_behind_a_door_is_found_when_it_is_called() -> None:
    assert doors.behind("vcmaug.doors:behind") is doors.behind
    with pytest.raises(AttributeError):
        doors.behind("vcmaug.doors:nobody")
