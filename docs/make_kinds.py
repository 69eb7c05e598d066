"""Draw what benchmarks/kinds.py measured: Frechet distance and adherence over steps, by kind.

python docs/make_kinds.py

Reads `benchmarks/results/kinds-*.json` and writes `docs/kinds/*.svg`.
"""

import io
import json
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
INK = "#57606a"  # readable on white and on black
COLOURS = {
    "epsilon": "#4477aa",
    "flow": "#ee6677",
    "flow-middle": "#228833",
    "flow-by-grid": "#ccbb44",
}


def panel(axes: Axes, rows: list[dict[str, Any]], part: str, key: str, label: str) -> None:
    """Draw one figure over steps, a line per variant; further seeds are dashed."""
    for row in rows:
        if part == "draws":
            of = min(row["draws"], key=lambda one: one["auc"])
        elif part in row:
            of = row[part]
        else:
            continue
        steps = of["steps"]
        axes.plot(
            [one["steps"] for one in steps],
            [one[key] for one in steps],
            "o-" if row["seed"] == 0 else "o--",
            color=COLOURS[row["variant"]],
            label=f"{row['variant']}, from {of['start']:g}" if row["seed"] == 0 else None,
        )
    axes.set_xscale("log")
    axes.set_xticks([2, 5, 10, 30], ["2", "5", "10", "30"])
    axes.minorticks_off()
    axes.set_xlabel("steps")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def main() -> None:
    """Write one plot per result."""
    (HERE / "kinds").mkdir(exist_ok=True)
    for path in sorted((HERE.parent / "benchmarks" / "results").glob("kinds-*.json")):
        rows = json.loads(path.read_text())["rows"]
        settings = {
            "svg.hashsalt": "kinds",
            "svg.fonttype": "none",
            "font.size": 10,
            **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
            **{f"axes.{part}": INK for part in ("edgecolor", "labelcolor")},
        }
        with rc_context(settings):
            figure = Figure(figsize=(9, 3.6), layout="constrained")
            figure.patch.set_alpha(0.0)
            first, second = figure.subplots(1, 2)
            panel(first, rows, "draws", "frechet", "Frechet distance, drawn without a control")
            panel(second, rows, "control", "adherence", "adherence, mean Dice")
            for axes in (first, second):
                axes.patch.set_alpha(0.0)
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None})
        (HERE / "kinds" / f"{path.stem.removeprefix('kinds-')}.svg").write_text(text.getvalue())


if __name__ == "__main__":
    main()
