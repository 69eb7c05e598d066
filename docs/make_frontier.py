"""Draw what benchmarks/frontier.py measured: adherence and Frechet distance over network calls.

python docs/make_frontier.py

Reads `benchmarks/results/frontier-*.json` and writes `docs/frontier/*.svg`.
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
    axes.set_xscale("log")
    axes.set_xticks([5, 10, 25, 50], ["5", "10", "25", "50"])
    axes.minorticks_off()
    axes.set_xlabel("network calls per volume")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Write one plot per result."""
    (HERE / "frontier").mkdir(exist_ok=True)
    for path in sorted((HERE.parent / "benchmarks" / "results").glob("frontier-*.json")):
        rows = json.loads(path.read_text())["rows"]
        settings = {
            "svg.hashsalt": "frontier",
            "svg.fonttype": "none",
            "font.size": 10,
            **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
            **{f"axes.{part}": INK for part in ("edgecolor", "labelcolor")},
        }
        with rc_context(settings):
            figure = Figure(figsize=(9, 3.6), layout="constrained")
            figure.patch.set_alpha(0.0)
            for axes, (key, label) in zip(figure.subplots(1, 2), PANELS, strict=True):
                axes.patch.set_alpha(0.0)
                panel(axes, rows, key, label)
            figure.axes[0].legend(frameon=False, fontsize=8)
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        (HERE / "frontier" / f"{path.stem.removeprefix('frontier-')}.svg").write_text(
            buffer.getvalue()
        )


if __name__ == "__main__":
    main()
