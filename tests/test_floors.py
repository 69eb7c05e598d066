"""Imports go down only, and what is light stays light."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.api import read_configuration
from importlinter.cli import lint_imports

import vcmaug

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "monai", "torchio", "dask", "distributed", "pandas", "matplotlib", "nibabel")

PROBE = """
import runpy, sys
try:
    {what}
except SystemExit as ending:
    assert not ending.code, ending.code
loaded = {{name.split(".")[0] for name in sys.modules}}
print("LOADED", *sorted(loaded & set({heavy!r})), file=sys.stderr)
"""


def loaded_by(what: str) -> list[str]:
    """Return which heavy packages a fresh Python has loaded after a statement."""
    ended = subprocess.run(
        [sys.executable, "-c", PROBE.format(what=what, heavy=HEAVY)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    return ended.stderr.rsplit("LOADED", 1)[1].split()


def test_the_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", cache_dir=None) == 0


def test_the_contract_is_the_docstring_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    contracts = read_configuration("pyproject.toml")["contracts_options"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    assert isinstance(layers, list)
    asked = [set(layer.replace("(", "").replace(")", "").split(" ")) for layer in layers]
    block = (vcmaug.__doc__ or "").split("imports go down only:")[1]
    written = [line.split("  ")[0].split(" ") for line in _indented(block)]
    assert [names - {"|", ":", "zoo"} for names in asked] == [set(n) - {"|"} for n in written]


def _indented(block: str) -> list[str]:
    return [line[4:] for line in block.splitlines() if line.startswith("    ")]


@pytest.mark.parametrize(
    "what",
    [
        "import vcmaug",
        "sys.argv = ['vcmaug', '--help']; runpy.run_module('vcmaug.cli.main', run_name='__main__')",
        "sys.argv = ['vcmaug', 'run', '--help']; "
        "runpy.run_module('vcmaug.cli.main', run_name='__main__')",
    ],
    ids=["import", "help", "run-help"],
)
def test_light_things_load_nothing_heavy(what: str) -> None:
    assert loaded_by(what) == []


def test_the_probe_sees_what_is_heavy() -> None:
    assert "pandas" in loaded_by("import pandas")
