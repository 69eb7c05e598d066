"""Runs the cells of tutorial.ipynb and keeps what they show, without Jupyter.

    python docs/run_tutorial.py

The last expression of a cell is shown as its HTML where it has any, as a notebook does. The cell
tagged `parameters` says how much is done; the test of the tutorial runs it with tiny numbers.
"""

import ast
import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

TUTORIAL = Path(__file__).with_name("tutorial.ipynb")


def executed(notebook: Mapping[str, Any], **parameters: Any) -> dict[str, Any]:
    """Return a notebook with the outputs of all its cells, run in order.

    Args:
        notebook: As JSON.
        **parameters: Take the place of those in the cell tagged `parameters`.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            outputs = outputs_of("".join(cell["source"]), names, count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
            if "parameters" in cell["metadata"].get("tags", ()):
                names.update(parameters)
        cells.append(cell)
    return {**notebook, "cells": cells}


def outputs_of(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return what a cell prints and shows."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "tutorial", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "tutorial", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines(printed)})
    if value is not None:
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": count,
                "metadata": {},
                "data": shown(value),
            }
        )
    return outputs


def shown(value: Any) -> dict[str, list[str]]:
    """Return a value as a notebook shows it."""
    if hasattr(value, "_repr_html_"):
        return {"text/html": lines(io.StringIO(value._repr_html_()))}
    return {"text/plain": lines(io.StringIO(repr(value)))}


def lines(text: io.StringIO) -> list[str]:
    """Return text as the lines in which notebooks keep it."""
    return text.getvalue().splitlines(keepends=True)


def main() -> None:
    """Run the tutorial and write it back."""
    notebook = executed(json.loads(TUTORIAL.read_text()))
    TUTORIAL.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
