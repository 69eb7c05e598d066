"""Draw what benchmarks/frontier.py measured: adherence and Frechet distance over network calls.

python docs/make_frontier.py

Reads `benchmarks/results/frontier-*.json` and writes `docs/frontier/*.svg`.
"""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from panels import INK, over_counts, two_panels

HERE = Path(__file__).parent
COLOURS = {
    "ddim": "#4477aa",
    "dpm++2m": "#ee6677",
    "heun": "#228833",
    "dpm++2m-sde": "#ccbb44",
    "ddpm": "#66ccee",
}
PANELS = (("adherence", "adherence, mean Dice"), ("frechet", "Frechet distance to real images"))


def panel(axes: Axes, rows: list[dict[str, Any]], key: str, label: str) -> None:
    """Draw one figure over calls, a line per solver, the reference as a dashed line."""
    reference = rows[0]
    axes.axhline(reference[key], color=INK, linestyle="--", linewidth=0.8)
    axes.annotate("DDIM, 200 steps", (3, reference[key]), fontsize=8, color=INK, va="bottom")
    for name, colour in COLOURS.items():
        own = [row for row in rows[1:] if row["sampler"] == name]
        axes.plot([r["calls"] for r in own], [r[key] for r in own], "o-", color=colour, label=name)
    over_counts(axes, (5, 10, 25, 50), what="network calls per volume", label=label)


def main() -> None:
    """Write one plot per result."""
    for path in sorted((HERE.parent / "benchmarks" / "results").glob("frontier-*.json")):
        rows = json.loads(path.read_text())["rows"]
        with two_panels(HERE / "frontier" / f"{path.stem.removeprefix('frontier-')}.svg") as panels:
            for axes, (key, label) in zip(panels, PANELS, strict=True):
                panel(axes, rows, key, label)
            panels[0].legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    main()
