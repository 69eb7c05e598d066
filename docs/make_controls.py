"""Write what benchmarks measured of the controls into docs/controls.md: tables, and plots over n.

python docs/make_controls.py

Reads `benchmarks/results/controls-*.json` and `brainldm-*.json`; all behind the marker is written.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"
MARKER = "<!-- what follows is written by docs/make_controls.py -->\n"
INK = "#57606a"  # readable on white and on black
COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#332288", "#ddcc77",
    "#999933", "#882255",
)  # fmt: skip


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean and, of several seeds, the range of values."""
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


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
    """Draw adherence over n, one line per method; return the picture's name."""
    rows = [row for row in content["rows"] if "failed" not in row]
    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.subplots()
    for method, colour in zip(methods_of(rows), COLOURS, strict=False):
        found: dict[int, list[float]] = {}
        for row in rows:
            if row["method"] == method:
                found.setdefault(row["num_labelled"], []).append(row["adherence"])
        means = [statistics.mean(values) for values in found.values()]
        low = [mean - min(v) for mean, v in zip(means, found.values(), strict=True)]
        high = [max(v) - mean for mean, v in zip(means, found.values(), strict=True)]
        axes.errorbar(list(found), means, yerr=[low, high], marker="o", color=colour, label=method)
    real = statistics.mean(row["adherence_of_real"] for row in rows)
    axes.axhline(real, color=INK, linestyle=":", label="real images")
    axes.set_xlabel("labelled cases", color=INK)
    axes.set_ylabel("adherence, Dice", color=INK)
    axes.set_xticks(sorted({row["num_labelled"] for row in rows}))
    axes.tick_params(colors=INK)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, labelcolor=INK, fontsize=8)
    figure.subplots_adjust(left=0.12, right=0.74, bottom=0.14, top=0.96)
    picture = HERE / "controls" / f"{name}.svg"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, transparent=True, metadata={"Date": None})
    return picture.name


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
            errors = [statistics.mean(row["volume_error"].values()) for row in here]
            body.append(
                [
                    f"`{method}`",
                    str(n),
                    f"{here[0]['num_parameters'] / 1e6:.2f}",
                    spread([row["adherence"] for row in here]),
                    f"{statistics.mean(errors):.2f}",
                    f"{statistics.mean(frechet(row) for row in here):.2f}",
                    f"{statistics.mean(row['seconds_per_update'] for row in here):.2f}",
                    f"{statistics.mean(row['peak_gib'] for row in here):.1f}",
                    f"{statistics.mean(row['sampling_overhead'] for row in here):+.0%}",
                ]
            )
    head = ["method", "n", "parameters, M", "adherence", "volume error", "Frechet distance"]
    lines += table([*head, "s per update", "peak GiB", "sampling step"], body)
    real = statistics.mean(row["adherence_of_real"] for row in rows)
    lines += [f"Of real images the same segmenter scores {real:.3f}.", ""]
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
