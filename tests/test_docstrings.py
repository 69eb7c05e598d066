"""pydoclint over the package, with this project's two liberties.

The first line says what comes back, so a Returns section may be left out; a function whose
arguments are plain may leave out its Args section, but one that is there names every argument.
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent

NO_RETURNS = {"DOC201", "DOC402"}  # no Returns section, no Yields section
NO_ARGS = {"DOC101", "DOC103"}  # arguments missing from the docstring
_LINE = re.compile(r"^(?P<path>.+\.py):(?P<line>\d+): (?P<code>DOC\d+): (?P<rest>.*)$")


@cache
def lines_with_args(path: Path) -> set[int]:
    """Return the line of each function or class whose docstring has an Args section."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return {node.lineno for node in nodes if "Args:" in (ast.get_docstring(node) or "")}


def faults_of(path: Path) -> list[str]:
    """Return what pydoclint finds in a file or folder, without what the liberties allow."""
    command = [sys.executable, "-m", "pydoclint.main", "--quiet"]
    command += ["--config", str(ROOT / "pyproject.toml")]
    command += ["--show-filenames-in-every-violation-message", "True", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = (done.stdout + done.stderr).strip()
    found = [_LINE.match(line) for line in text.splitlines() if line.strip()]
    assert done.returncode in (0, 1), text
    assert all(found), f"pydoclint speaks in another form now: {text}"
    return [one.group(0) for one in found if one and not is_free(one)]


def is_free(found: re.Match[str]) -> bool:
    """Return whether a violation is one of the two liberties."""
    if found["code"] in NO_RETURNS:
        return True
    with_args = int(found["line"]) in lines_with_args(Path(found["path"]))
    return found["code"] in NO_ARGS and not with_args


def test_docstrings_fit_their_functions():
    assert faults_of(ROOT / "vcmaug") == []


def test_an_args_section_that_leaves_one_out_is_found(tmp_path):
    path = tmp_path / "short.py"
    path.write_text(
        'def add(first: int, second: int) -> int:\n    """Return the sum.\n\n'
        '    Args:\n        first: One of two.\n    """\n    return first + second\n',
        encoding="utf-8",
    )
    assert any("second" in fault for fault in faults_of(path))


def test_an_argument_that_is_not_there_is_found(tmp_path):
    path = tmp_path / "long.py"
    path.write_text(
        'def double(first: int) -> int:\n    """Return the double.\n\n'
        '    Args:\n        first: One.\n        other: None.\n    """\n    return 2 * first\n',
        encoding="utf-8",
    )
    assert any("DOC102" in fault for fault in faults_of(path))
