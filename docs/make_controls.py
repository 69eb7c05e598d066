"""Write what benchmarks measured of the controls into docs/controls.md: tables, and plots over n.

python docs/make_controls.py

Reads `benchmarks/results/controls-*.json` and `brainldm-*.json`; all behind the marker is written.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vcmaug.downstream.statistics import bootstrap_mean

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
FIRST = "recipe"
MARKER = "<!-- what follows is written by docs/make_controls.py -->\n"
INK = "#57606a"  # readable on white and on black
COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#332288", "#ddcc77",
    "#999933", "#882255",
)  # fmt: skip


def adherence(rows: Sequence[dict[str, Any]]) -> str:
    """Return the mean, with its interval over cases of one seed or the range of several."""
    values = [row["adherence"] for row in rows]
    low, high = rows[0]["adherence_interval"] if len(rows) == 1 else (min(values), max(values))
    return f"{statistics.mean(values):.3f} ({low:.3f} to {high:.3f})"


def against(first: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> str:
    """Return by how much rows adhere more than the first method, case by case and seed by seed."""
    pairs = {row["seed"]: row["adherence_of_cases"] for row in first}
    rows = [row for row in rows if row["seed"] in pairs and row not in first]
    if not rows:
        return ""
    dice = [(row["adherence_of_cases"], pairs[row["seed"]]) for row in rows]
    common = set.intersection(*({*here} & {*there} for here, there in dice))
    found = bootstrap_mean(
        np.array([[here[case] - there[case] for case in sorted(common)] for here, there in dice]),
        num_draws=2000,
        generator=np.random.default_rng(0),
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
    """Draw adherence: one line per method over n, or one dot each of one n; return the file."""
    rows = [row for row in content["rows"] if "failed" not in row]
    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.subplots()
    real = statistics.mean(row["adherence_of_real"] for row in rows)
    if len({(row["num_labelled"], row["seed"]) for row in rows}) == 1:
        dots(axes, rows)
        axes.axvline(real, color=INK, linestyle=":")
        above = axes.get_xaxis_transform()
        axes.text(real, 1.02, "real images", color=INK, fontsize=8, ha="right", transform=above)
        figure.subplots_adjust(left=0.22, right=0.97, bottom=0.14, top=0.92)
    else:
        over_n(axes, rows)
        axes.axhline(real, color=INK, linestyle=":", label="real images")
        figure.legend(loc="outside right upper", frameon=False, labelcolor=INK, fontsize=8)
        figure.subplots_adjust(left=0.12, right=0.74, bottom=0.14, top=0.96)
    axes.tick_params(colors=INK, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    picture = HERE / "controls" / f"{name}.svg"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, transparent=True, metadata={"Date": None})
    return picture.name


def dots(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """Draw one dot per method with its interval over cases, the best on top."""
    ranked = sorted(rows, key=lambda row: -row["adherence"])
    for place, row in enumerate(ranked):
        axes.plot(row["adherence_interval"], [place] * 2, color=COLOURS[0], linewidth=2)
        axes.plot(row["adherence"], place, "o", color=COLOURS[0])
    axes.set_yticks(range(len(ranked)), [row["method"] for row in ranked])
    axes.invert_yaxis()
    axes.grid(axis="y", color=INK, alpha=0.2)
    axes.set_xlabel("adherence, Dice", color=INK)


def over_n(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """Draw one line per method over labelled cases, with the range of its seeds."""
    for method, colour in zip(methods_of(rows), COLOURS, strict=False):
        found: dict[int, list[float]] = {}
        for row in rows:
            if row["method"] == method:
                found.setdefault(row["num_labelled"], []).append(row["adherence"])
        means = [statistics.mean(values) for values in found.values()]
        low = [mean - min(v) for mean, v in zip(means, found.values(), strict=True)]
        high = [max(v) - mean for mean, v in zip(means, found.values(), strict=True)]
        axes.errorbar(list(found), means, yerr=[low, high], marker="o", color=colour, label=method)
    axes.set_xlabel("labelled cases", color=INK)
    axes.set_ylabel("adherence, Dice", color=INK)
    axes.set_xticks(sorted({row["num_labelled"] for row in rows}))


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
            errors = [statistics.mean(row["volume_error"].values()) for row in here]
            body.append(
                [
                    f"`{method}`",
                    str(n),
                    f"{here[0]['num_parameters'] / 1e6:.2f}",
                    adherence(here),
                    against(first, here),
                    f"{statistics.mean(errors):.2f}",
                    f"{statistics.mean(frechet(row) for row in here):.2f}",
                    f"{statistics.mean(row['seconds_per_update'] for row in here):.2f}",
                    f"{statistics.mean(row['peak_gib'] for row in here):.1f}",
                    f"{statistics.mean(row['sampling_overhead'] for row in here):+.0%}",
                ]
            )
    head = ["method", "n", "parameters, M", "adherence", f"against `{FIRST}`", "volume error"]
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


def full_size(name: str, content: dict[str, Any]) -> list[str]:
    """Return the section about BrainLDM's size."""
    lines = [f"### BrainLDM's size, batch {content['batch']}, {content['device']}", ""]
    lines += [f"Random weights, one step of each; `benchmarks/results/{name}`.", ""]
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
