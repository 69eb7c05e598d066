"""Pictures of the report: montages with label contours, and the study as a plot.

What it is: the only room that knows matplotlib.
In the flow: volumes and rows in, base64 PNG or inline SVG out.
Sources: none.
"""

import base64
import re
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

__all__ = ["difference_plot", "mean_plot", "montage"]

mpl.use("Agg")

ARM_COLOURS = {"real": "#4477aa", "real+synthetic": "#ee6677", "real+warped": "#228833"}
_PLANES = (0, 1, 2)  # sagittal, coronal, axial in RAS
_INK = "#010203"  # stands for the page's own text colour in inline SVG


def montage(files: Sequence[tuple[str, Path, Path]], scheme: LabelScheme) -> str:
    """Return a PNG, base64, of cases in three planes with the contours of their label maps.

    Args:
        files: (caption, image, label map) per case; slices pass through the labels' centre. A case
            that cannot be read is said to be unreadable.
        scheme: Gives the colours.
    """
    figure = Figure(figsize=(1.75 * len(files), 5.4), dpi=110, facecolor="black")
    axes = figure.subplots(len(_PLANES), len(files), squeeze=False)
    for column, (caption, image_path, label_path) in enumerate(files):
        axes[0, column].set_title(caption, color="white", fontsize=7.5)
        for row in _PLANES:
            axes[row, column].set_axis_off()
        try:
            image = read_image(image_path, case_id=caption)
            label = read_label_map(label_path, case_id=caption)
        except DataError:
            axes[1, column].text(0.5, 0.5, "unreadable", color="white", ha="center", fontsize=8)
            continue
        centre = _centre(label.array)
        for row, plane in enumerate(_PLANES):
            _draw_slice(axes[row, column], image, label.array, scheme, plane, centre[plane])
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.94, wspace=0.04, hspace=0.04)
    stream = BytesIO()
    figure.savefig(stream, format="png", facecolor="black", metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _centre(label_map: NDArray[np.uint16]) -> list[int]:
    """Return the voxel at the centre of all labels, or of the grid without any."""
    places = np.argwhere(label_map > 0)
    middle = places.mean(axis=0) if len(places) else np.asarray(label_map.shape) / 2
    return [round(float(value)) for value in middle]


def _draw_slice(
    axes: Axes,
    image: Volume,
    label_map: NDArray[np.uint16],
    scheme: LabelScheme,
    plane: int,
    index: int,
) -> None:
    """Draw one slice and the outlines of the structures in it."""
    flat = np.take(image.array, index, axis=plane).T
    labels = np.take(label_map, index, axis=plane).T
    across, up = np.delete(image.spacing_mm, plane)
    axes.imshow(flat, origin="lower", cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_aspect(float(up / across))  # a millimetre is as long upwards as across
    for structure in scheme.structures:
        inside = labels == structure.value
        if inside.any() and not inside.all():
            axes.contour(
                inside.astype(float), levels=[0.5], colors=[structure.colour], linewidths=1.1
            )


def mean_plot(summary: dict[str, Any]) -> str:
    """Return inline SVG: mean Dice per arm over n, with intervals.

    Args:
        summary: As the study wrote it.
    """
    return _svg(_draw_means, summary, name="means")


def difference_plot(summary: dict[str, Any]) -> str:
    """Return inline SVG: the paired difference of Dice from real only over n, with intervals.

    Args:
        summary: As the study wrote it.
    """
    return _svg(_draw_differences, summary, name="differences")


def _svg(
    draw: Callable[[Axes, dict[str, Any]], None], summary: dict[str, Any], *, name: str
) -> str:
    """Return a plot as SVG in the page's own text colour, its ids made unique by its name."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10}):
        figure = Figure(figsize=(4.4, 3.2))
        axes = figure.subplots()
        draw(axes, summary)
        _quiet(axes, summary["num_labelled"])
        figure.tight_layout()
        stream = StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    return svg.replace(_INK, "currentColor")


def _draw_means(axes: Axes, summary: dict[str, Any]) -> None:
    """Draw mean Dice per arm over n."""
    rows = [row for row in summary["means"] if row["metric"] == "dice"]
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for place, arm in enumerate(arms):
        points = sorted(
            (row["num_labelled"], row["mean"], row["low"], row["high"])
            for row in rows
            if row["arm"] == arm
        )
        x, y, low, high = np.array(points, dtype=float).T
        shift = x * (1 + 0.06 * (place - (len(arms) - 1) / 2))  # arms side by side
        colour = ARM_COLOURS.get(arm, _INK)
        axes.errorbar(
            shift, y, [y - low, high - y], color=colour, marker="o", ms=5, capsize=3, label=arm
        )
    axes.set_ylabel("mean Dice, test subjects")
    axes.legend(
        frameon=False, labelcolor=_INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(arms)
    )


def _draw_differences(axes: Axes, summary: dict[str, Any]) -> None:
    """Draw paired differences of Dice over n."""
    rows = [row for row in summary["differences"] if row["metric"] == "dice"]
    axes.axhline(0.0, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)))
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for row in rows:
        error = [[row["mean"] - row["low"]], [row["high"] - row["mean"]]]
        colour = ARM_COLOURS.get(row["arm"], _INK)
        shift = 1 + 0.06 * (arms.index(row["arm"]) - (len(arms) - 1) / 2)  # arms side by side
        axes.errorbar(
            [row["num_labelled"] * shift],
            [row["mean"]],
            error,
            color=colour,
            marker="o",
            ms=5,
            capsize=3,
        )
    axes.set_ylabel("difference in Dice")


def _quiet(axes: Axes, num_labelled: Sequence[int]) -> None:
    """Set the page's own colour, a log axis of n with room at its ends, and no frame."""
    axes.set_xscale("log")
    axes.set_xticks(list(num_labelled), [str(n) for n in num_labelled])
    axes.set_xlim(min(num_labelled) / 1.4, max(num_labelled) * 1.4)
    axes.minorticks_off()
    axes.set_xlabel("labelled cases", color=_INK)
    axes.yaxis.label.set_color(_INK)
    axes.tick_params(colors=_INK)
    axes.margins(y=0.15)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(_INK)
