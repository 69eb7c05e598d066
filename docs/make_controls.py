"""Write what benchmarks measured of the controls into docs/controls.md: tables, and plots over n.

python docs/make_controls.py

Reads `benchmarks/results/controls-*.json` and `brainldm-*.json`; all behind the marker is written.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vcmaug.downstream.statistics import mean_of

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
FIRST, NONE = "recipe", "none"
MARKER = "<!-- what follows is written by docs/make_controls.py -->\n"
INK = "#57606a"  # readable on white and on black
COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#332288", "#ddcc77",
    "#999933", "#882255",
)  # fmt: skip
Spread = tuple[float, float, float]


def spread(rows: Sequence[dict[str, Any]]) -> Spread:
    """Return the mean adherence; its interval over subjects of one seed, or the range of several.

    Rows are of a result, or the `new_maps` of such.
    """
    values = [row["adherence"] for row in rows]
    low, high = rows[0]["adherence_interval"] if len(rows) == 1 else (min(values), max(values))
    return statistics.mean(values), low, high


def new_maps(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures of rows on maps that no training has seen."""
    return [row["new_maps"] for row in rows]


def against(first: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> str:
    """Return by how much rows adhere more to new maps than the first method, subject by subject."""
    pairs = {row["seed"]: row["new_maps"]["adherence_of_subjects"] for row in first}
    rows = [row for row in rows if row["seed"] in pairs and row not in first]
    if not rows:
        return ""
    dice = [(row["new_maps"]["adherence_of_subjects"], pairs[row["seed"]]) for row in rows]
    common = set.intersection(*({*here} & {*there} for here, there in dice))
    found = mean_of(
        np.array([[here[one] - there[one] for one in sorted(common)] for here, there in dice])
    )
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines] + [""]


def methods_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the methods in the order in which they were measured."""
    return list(dict.fromkeys(row["method"] for row in rows))


def frechet(row: dict[str, Any]) -> float:
    """Return the Frechet distance between synthetic and real images of a row."""
    return next(float(value) for name, value in row["frechet"].items() if "synthetic" in name)


def plot(name: str, content: dict[str, Any]) -> str:
    """Draw adherence: dots per method at the smallest n, a line for each that has several."""
    rows = [row for row in content["rows"] if "failed" not in row]
    found: dict[str, dict[int, Spread]] = {method: {} for method in methods_of(rows)}
    smallest = min(row["num_labelled"] for row in rows)
    own = {}
    for method, n in dict.fromkeys((row["method"], row["num_labelled"]) for row in rows):
        here = [r for r in rows if (r["method"], r["num_labelled"]) == (method, n)]
        found[method][n] = spread(new_maps(here))
        if n == smallest:
            own[method] = spread(here)
    real = statistics.mean(row["adherence_of_real"] for row in rows)
    lines = {method: over for method, over in found.items() if len(over) > 1}
    figure = Figure(figsize=(11, 4.2) if lines else (6.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 2 if lines else 1, squeeze=False)[0]
    dots(panels[0], own, {method: found[method][smallest] for method in own})
    panels[0].axvline(real, color=INK, linestyle=":")
    panels[0].set_title(
        f"{smallest} labelled cases; dot: their maps, ring: new maps; dotted: real images",
        fontsize=9,
        color=INK,
    )
    if lines:
        over_n(panels[1], lines)
        panels[1].axhline(real, color=INK, linestyle=":")
    for axes in panels:
        axes.tick_params(colors=INK, length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    picture = HERE / "controls" / f"{name}.svg"
    picture.parent.mkdir(exist_ok=True)
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(picture, transparent=True, metadata={"Date": None})
    return picture.name


def dots(axes: Axes, own: dict[str, Spread], new: dict[str, Spread]) -> None:
    """Draw a dot and a ring per method with their intervals, the best on new maps on top."""
    ranked = sorted(new, key=lambda method: -new[method][0])
    for place, method in enumerate(ranked):
        for found, shift, fill in ((own, -0.15, COLOURS[0]), (new, 0.15, "none")):
            mean, low, high = found[method]
            axes.plot([low, high], [place + shift] * 2, color=COLOURS[0], linewidth=1.5)
            axes.plot(mean, place + shift, "o", color=COLOURS[0], markerfacecolor=fill)
    axes.set_yticks(range(len(ranked)), ranked)
    axes.invert_yaxis()
    axes.grid(axis="y", color=INK, alpha=0.2)
    axes.set_xlabel("adherence, Dice", color=INK)


def over_n(axes: Axes, found: dict[str, dict[int, Spread]]) -> None:
    """Draw one line per method over labelled cases."""
    for (method, over), colour in zip(found.items(), cycle(COLOURS), strict=False):
        ns = sorted(over)
        means, low, high = zip(*(over[n] for n in ns), strict=True)
        errors = [np.subtract(means, low), np.subtract(high, means)]
        axes.errorbar(ns, means, yerr=errors, marker="o", color=colour, label=method)
    axes.set_xlabel("labelled cases", color=INK)
    axes.set_ylabel("adherence to new maps, Dice", color=INK)
    axes.set_xticks(sorted({n for over in found.values() for n in over}))
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, **place)


def compared(name: str, content: dict[str, Any]) -> list[str]:
    """Return the section of one comparison."""
    rows = [row for row in content["rows"] if "failed" not in row]
    machine = content["machine"]
    lines = [f"### {content['recipe']}, {content['task']}", ""]
    lines += [
        f"{content['updates']} updates each, {machine['cores']} {machine['processor']} cores; "
        f"`benchmarks/results/{name}`.",
        "",
    ]
    body = []
    for method in methods_of(rows):
        for n in sorted({row["num_labelled"] for row in rows if row["method"] == method}):
            here = [r for r in rows if (r["method"], r["num_labelled"]) == (method, n)]
            first = [r for r in rows if (r["method"], r["num_labelled"]) == (FIRST, n)]
            errors = [statistics.mean(row["volume_error"].values()) for row in new_maps(here)]
            body.append(
                [
                    f"`{method}`",
                    str(n),
                    "" if method == NONE else f"{here[0]['num_parameters'] / 1e6:.2f}",
                    f"{spread(here)[0]:.3f}",
                    "{:.3f} ({:.3f} to {:.3f})".format(*spread(new_maps(here))),
                    against(first, here),
                    f"{statistics.mean(errors):.2f}",
                    f"{statistics.mean(frechet(row) for row in here):.2f}",
                    *costs(here),
                ]
            )
    head = ["method", "n", "parameters, M", "own maps", "new maps", f"against `{FIRST}`"]
    head += ["volume error"]
    lines += table([*head, "Frechet distance", "s per update", "peak GiB", "sampling step"], body)
    real = statistics.mean(row["adherence_of_real"] for row in rows)
    floor = statistics.mean(row["frechet"]["real vs real"] for row in rows)
    lines += [
        f"Of real images the same segmenter scores {real:.3f}; two halves of the real images are "
        f"{floor:.2f} apart.",
        "",
    ]
    missing = [
        f"{row['method']} at n = {row['num_labelled']}"
        for row in content["rows"]
        if "failed" in row
    ]
    lines += [f"Missing: {', '.join(missing)}.", ""] if missing else []
    return [
        *lines,
        f"![Adherence over labelled cases](controls/{plot(Path(name).stem, content)})",
        "",
    ]


def costs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return seconds and memory of an update, and what a sampling step costs more, where known."""
    if rows[0]["method"] == NONE or "peak_gib" not in rows[0]:
        return ["", "", ""]
    mean = {
        key: statistics.mean(row[key] for row in rows)
        for key in ("seconds_per_update", "peak_gib", "sampling_overhead")
    }
    return [
        f"{mean['seconds_per_update']:.2f}",
        f"{mean['peak_gib']:.1f}",
        f"{mean['sampling_overhead']:+.0%}",
    ]


def full_size(name: str, content: dict[str, Any]) -> list[str]:
    """Return the section about BrainLDM's size."""
    sampling_batch = content.get("sampling_batch", content["batch"])
    lines = [f"### BrainLDM's size, {content['device']}, sampling at batch {sampling_batch}", ""]
    lines += [
        f"Random weights; training at batch {content['batch']}; `benchmarks/results/{name}`.",
        "",
    ]
    body = []
    for row in content["rows"]:
        if "failed" in row:
            body.append([f"`{row['method']}`", "missing", "", "", ""])
        elif row["method"] != "decode":
            body.append(
                [
                    f"`{row['method']}`",
                    f"{row['num_parameters'] / 1e6:.2f}",
                    f"{row['training_step_seconds']:.1f}",
                    f"{row['training_gib_above_prior']:.2f}",
                    f"{row['sampling_overhead']:+.0%}",
                ]
            )
    head = [
        "method",
        "parameters, M",
        "s per training step",
        "GiB above the prior",
        "sampling step",
    ]
    lines += table(head, body)
    for row in content["rows"]:
        if row["method"] == "decode" and "failed" not in row:
            lines += [f"A decode takes {row['seconds']:.1f} s and {row['peak_gib']:.1f} GiB.", ""]
    return lines


def main() -> None:
    """Write the tables behind the marker."""
    page = HERE / "controls.md"
    lines = ["## What was measured", ""]
    for pattern, section in (("controls-*.json", compared), ("brainldm-*.json", full_size)):
        for path in sorted(RESULTS.glob(pattern)):
            lines += section(path.name, json.loads(path.read_text()))
    if len(lines) == 2:
        lines += ["Nothing yet: the benchmarks have not been run.", ""]
    page.write_text(
        page.read_text().split(MARKER)[0] + MARKER + "\n" + "\n".join(lines).rstrip() + "\n"
    )


if __name__ == "__main__":
    main()
