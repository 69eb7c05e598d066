"""The tutorial: its cells run, it is small, and it stands there with what they showed."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TINY = {"SUBJECTS": 13, "UPDATES": 1, "DRAWN": 2, "FIT": 1}


def runner() -> ModuleType:
    """Return docs/run_tutorial.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("run_tutorial", DOCS / "run_tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def notebook() -> dict:
    return json.loads((DOCS / "tutorial.ipynb").read_text())


def outputs(notebook: dict) -> list[tuple]:
    """Return the kinds of output of each cell of code."""
    return [
        tuple((one["output_type"], *one.get("data", ())) for one in cell["outputs"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_it_is_committed_with_small_outputs(notebook: dict) -> None:
    text = (DOCS / "tutorial.ipynb").read_text()
    assert len(text.encode()) < 600_000
    assert text.count("data:image/png") == 5  # case, cases, conditions, image, cohort
    assert "/tmp/" not in text
    counts = [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_its_cells_run_and_show_what_they_did(notebook: dict) -> None:
    pytest.importorskip("nilearn")
    again = runner().executed(notebook, **TINY)
    assert outputs(again) == outputs(notebook)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_runs_as_it_stands(notebook: dict) -> None:
    assert outputs(runner().executed(notebook)) == outputs(notebook)
