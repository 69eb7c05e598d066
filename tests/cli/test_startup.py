"""The command line starts fast: a verb is imported when called, what computes when it runs."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.cli.verbs import VERBS, Verb

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "monai", "torchio", "matplotlib"}

PROBE = """
import runpy, sys
sys.argv = ["vcmaug", *sys.argv[1:]]
try:
    runpy.run_module("vcmaug.cli.main", run_name="__main__")
except SystemExit as ending:
    code = ending.code or 0
print("LOADED", code, *sys.modules, file=sys.stderr)
"""


def started(*words: str, cwd: Path = ROOT) -> tuple[int, str, set[str]]:
    """Run a command in a fresh Python; return its exit code, its output and what it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        env=os.environ | {"PYTHONWARNINGS": "ignore", "COLUMNS": "200"},
    )
    said, _, told = done.stderr.rpartition("LOADED ")
    code, *modules = told.split()
    return int(code), done.stdout + said, set(modules)


def rooms(modules: Iterable[str]) -> set[str]:
    """Return the packages of the toolkit that are among some modules."""
    return {name.split(".")[1] for name in modules if name.startswith("vcmaug.")}


def test_help_imports_no_verb_and_nothing_that_computes() -> None:
    code, text, modules = started("--help")
    assert code == 0
    assert all(f" {verb.name} " in text for verb in VERBS)
    assert rooms(modules) == {"cli", "errors", "progress", "version"}
    of_cli = {name for name in modules if name.startswith("vcmaug.cli.")}
    assert of_cli == {"vcmaug.cli.console", "vcmaug.cli.verbs"}  # main runs as __main__
    assert not modules & (HEAVY | {"numpy", "pandas", "pydantic", "rich.progress"})


def test_a_dry_run_of_a_recipe_imports_nothing_that_computes(tmp_path: Path) -> None:
    recipe, out = str(ROOT / "recipes" / "demo" / "recipe.yaml"), str(tmp_path / "work")
    code, text, modules = started("run", recipe, "--dry-run", "--out", out)
    assert code == 0, text
    assert not modules & HEAVY


def test_a_misspelt_key_of_a_recipe_is_answered_without_what_computes(tmp_path: Path) -> None:
    text = (ROOT / "recipes" / "demo" / "recipe.yaml").read_text()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text.replace("\ngenerate:", "\ngeneratex:"))
    assert recipe.read_text() != text
    code, said, modules = started("run", str(recipe))
    assert code == 2
    assert "generatex" in said
    assert "'generate'" in said  # the nearest name
    assert not modules & HEAVY


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_the_list_says_of_a_verb_what_the_verb_says_first(verb: Verb) -> None:
    help_of = inspect.cleandoc(verb.load().help)
    assert " ".join(help_of.split("\n\n")[0].split()) == verb.help


def test_a_misspelt_verb_is_answered_with_the_nearest() -> None:
    ended = CliRunner().invoke(app, ["generatex"], env={"COLUMNS": "200"})
    assert ended.exit_code == 2
    assert "No such command 'generatex'. Did you mean 'generate'" in ended.output


def test_a_misspelt_option_is_answered_with_the_nearest() -> None:
    ended = CliRunner().invoke(app, ["run", "x.yaml", "--dry-runn"], env={"COLUMNS": "200"})
    assert ended.exit_code == 2
    assert "No such option: --dry-runn" in ended.output
    assert "--dry-run" in ended.output.replace("--dry-runn", "")
    assert "vcmaug run" in ended.output or "root run" in ended.output  # whose option it is not


def test_a_verb_of_verbs_lists_its_own() -> None:
    ended = CliRunner().invoke(app, ["import-weights", "--help"], env={"COLUMNS": "200"})
    assert ended.exit_code == 0
    assert "brainldm" in ended.output
    assert "vcm" in ended.output
