"""Draw what benchmarks/kinds.py measured: Frechet distance and adherence over steps, by kind.

python docs/make_kinds.py

Reads `benchmarks/results/kinds-*.json` and writes `docs/kinds/*.svg`.
"""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from panels import over_counts, two_panels

HERE = Path(__file__).parent
COLOURS = {
    "epsilon": "#4477aa",
    "flow": "#ee6677",
    "flow-middle": "#228833",
    "flow-shifted": "#ccbb44",
}
STEPS = (2, 5, 10, 30)


def line(axes: Axes, row: dict[str, Any], measured: dict[str, Any], key: str) -> None:
    """Draw one figure of a variant over steps; further trainings of it are dashed."""
    name = f"{row['variant']}, from {measured['start']:g}"
    first = name not in axes.get_legend_handles_labels()[1]
    axes.plot(
        STEPS,
        [one[key] for one in measured["steps"]],
        "o-" if first else "o--",
        color=COLOURS[row["variant"]],
        label=name if first else None,
    )


def main() -> None:
    """Write one plot per result."""
    for path in sorted((HERE.parent / "benchmarks" / "results").glob("kinds-*.json")):
        with two_panels(HERE / "kinds" / f"{path.stem.removeprefix('kinds-')}.svg") as panels:
            for row in json.loads(path.read_text())["rows"]:
                line(panels[0], row, min(row["draws"], key=lambda one: one["auc"]), "frechet")
                if "control" in row:
                    line(panels[1], row, row["control"], "adherence")
            labels = "Frechet distance, without a control", "adherence, mean Dice"
            for axes, label in zip(panels, labels, strict=True):
                over_counts(axes, STEPS, what="steps", label=label)
                axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    main()
