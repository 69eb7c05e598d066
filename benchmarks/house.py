"""The house in figures: size, functions, switches on kinds, untyped tables, imports, start-up.

python benchmarks/house.py [--against TREE]

Prints one line of JSON. With `--against`, the same of another checkout beside it, and the ratio
(this one over the other). Everything is read from the source of `vcmaug/`, without importing it:

- `files`, `lines`, `longest_file_lines`: as they lie; the two longest are named.
- `code_lines`: lines that hold code; docstrings, comments and blank lines do not.
- `functions`: every `def`, nested ones and methods too. A length goes from `def` to the last line
  of the body without the docstring; `functions_over_60` counts those longer than 60 lines.
- `assert_is_not_none`: asserts whose test says `is not None`.
- `kind_branches`: places that ask of which kind a part or a group of settings is, outside the file
  that defines it: `isinstance`, `issubclass`, `type() is` and `case` on a subclass of `Part` or a
  class called `...Settings` (tuples and unions of them included), `hasattr` of one of their
  members, and comparisons of a `name`, `method`, `builder`, `sampler` or `arm` with the literal
  name of a known part (a `Literal` field called name, method or builder, or a module's `Literal`).
- `dict_str_any`, `mapping_str_any`: `dict[str, Any]` and `Mapping[str, Any]`, in quoted annotations
  too; a use of an alias of one counts as one.
- `string_subscripts`: `x["name"]`, without `Literal["name"]`; `..._of_tables` those in
  `vcmaug/report`, `cohort/manifest.py` and `cohort/merge.py`, `..._per_1000_lines` all others.
- `what_it_is`, `sources_none`: docstrings that still have the form of the first edition.
- `imports`, `imports_up`, `cycles`: between modules, as grimp sees them, under TYPE_CHECKING and in
  functions too; up means against the floors of the tree's own import contract, or between rooms
  that share a floor and may not know each other; a cycle is a group of modules that reach each
  other.
- `import_ms`: `import vcmaug` in a fresh Python; `help_seconds`: the process `vcmaug --help`. Both
  are medians of 5 and depend on what else the machine is doing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from house_counts import PACKAGE, Figures, counted, sources_of

ROUNDS = 5


def imports(tree: Path) -> Figures:
    """Return how modules import each other; the checkout must come first on the path."""
    import grimp
    import networkx

    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    arrows = [
        (module, other)
        for module in sorted(graph.modules)
        for other in graph.find_modules_directly_imported_by(module)
    ]
    contracts = tomllib.loads((tree / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    floors = {
        name: (-floor, ":" in layer)
        for floor, layer in enumerate(layers)
        for name in layer.translate(str.maketrans("():|", "    ")).split()
    }
    groups = networkx.strongly_connected_components(networkx.DiGraph(arrows))
    return {
        "imports": len(arrows),
        "imports_up": sum(is_up(module, other, floors) for module, other in arrows),
        "cycles": sum(len(group) > 1 for group in groups),
    }


def is_up(module: str, other: str, floors: Mapping[str, tuple[int, bool]]) -> bool:
    """Return whether an import goes up, or across a floor whose rooms may not know each other."""
    rooms = [name.split(".")[1] if "." in name else "" for name in (module, other)]
    if rooms[0] == rooms[1] or not all(room in floors for room in rooms):
        return False
    (here, free), (there, _) = floors[rooms[0]], floors[rooms[1]]
    return there > here or (there == here and not free)


TIMED = """
import subprocess, sys, time
began = time.perf_counter()
{what}
print(time.perf_counter() - began)
"""
IMPORT = "import vcmaug"
HELP = """
command = [sys.executable, "-m", "vcmaug.cli.main", "--help"]
subprocess.run(command, capture_output=True, check=True)
"""


def seconds(what: str) -> float:
    """Return the median seconds of a statement in a fresh Python."""
    command = [sys.executable, "-c", TIMED.format(what=what)]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(ROUNDS)]
    return statistics.median(float(run.stdout) for run in runs)


def measured(tree: Path) -> Figures:
    """Return all figures of a checkout, in a process that finds its package first."""
    command = [sys.executable, __file__, "--one", str(tree)]
    env = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=env, cwd=tree, stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def one(tree: Path) -> Figures:
    """Return all figures of the checkout whose package this process finds."""
    return {
        **counted(sources_of(tree)),
        **imports(tree),
        "import_ms": round(1000 * seconds(IMPORT), 1),
        "help_seconds": round(seconds(HELP), 3),
    }


def ratios(here: Figures, there: Figures) -> dict[str, float]:
    """Return each figure of one tree over that of another, where that can be said."""
    pairs = {key: (value, there.get(key)) for key, value in here.items()}
    return {
        key: round(a / b, 3)
        for key, (a, b) in pairs.items()
        if isinstance(a, int | float) and isinstance(b, int | float) and b
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, help="another checkout, measured beside this one")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one)))
        return
    here = measured(Path(__file__).resolve().parent.parent)
    if asked.against is None:
        print(json.dumps(here))
        return
    there = measured(asked.against.resolve())
    print(json.dumps({"here": here, "there": there, "ratio": ratios(here, there)}))


if __name__ == "__main__":
    main()
