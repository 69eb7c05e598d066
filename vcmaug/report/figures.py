"""Pictures of the report: montages with label contours, and the study as a plot.

Volumes and rows become base64 PNG or inline SVG; matplotlib enters here alone.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vcmaug.arms.base import Arm
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.downstream.results import Difference, Mean, Summary
from vcmaug.errors import DataError
from vcmaug.files import write_bytes
from vcmaug.report.study import is_ceiling, is_floor

__all__ = [
    "INK",
    "PLANES",
    "Column",
    "contoured",
    "difference_plot",
    "draw_slice",
    "in_a_row",
    "mean_plot",
    "montage",
    "panels",
    "png",
    "svg_of",
    "write_mosaic",
]

mpl.use("Agg")

_PER_ROW = 8  # images of a mosaic
PLANES = (0, 1, 2)  # sagittal, coronal, axial in RAS
INK = "#010203"
"""Stands for the page's own text colour in inline SVG."""


class Column(NamedTuple):
    """A case of a montage: its caption, its image in [0, 1], its label map."""

    caption: str
    image: Volume | None
    label: Volume | None


def montage(files: Sequence[tuple[str, Path, Path]], scheme: LabelScheme) -> str:
    """Return a PNG, base64, of cases in three planes with the contours of their label maps.

    Args:
        files: (caption, image, label map) per case; slices pass through the labels' centre. A case
            that cannot be read is said to be unreadable.
        scheme: Gives the colours.
    """
    columns: list[Column] = []
    for caption, image_path, label_path in files:
        try:
            image = read_image(image_path, case_id=caption)
            columns.append(Column(caption, image, read_label_map(label_path, case_id=caption)))
        except DataError:
            columns.append(Column(caption, None, None))
    return base64.b64encode(contoured(columns, scheme)).decode("ascii")


def contoured(columns: Sequence[Column], scheme: LabelScheme) -> bytes:
    """Return a PNG of images in three planes with the contours of their label maps.

    Args:
        columns: One per case; without an image it is unreadable, without a label map bare.
        scheme: Gives the colours.
    """
    size = (1.75 * len(columns), 5.4)
    figure, axes = panels(
        len(PLANES), len(columns), size=size, margins={"top": 0.94, "hspace": 0.04}
    )
    for places, (caption, image, label) in zip(axes.T, columns, strict=True):
        places[0].set_title(caption, color="white", fontsize=7.5)
        if image is None:
            places[1].text(0.5, 0.5, "unreadable", color="white", ha="center", fontsize=8)
        else:
            _draw_planes(places, image, label, scheme)
    return png(figure)


def in_a_row(image: Volume, label: Volume | None, scheme: LabelScheme) -> bytes:
    """Return a PNG of three planes side by side, with the contours of a label map.

    Args:
        image: Values in [0, 1].
        label: Slices pass through its centre; None: through the grid's.
        scheme: Gives the colours.
    """
    figure, axes = panels(1, len(PLANES), size=(6.0, 2.1), margins={"bottom": 0.02, "top": 0.98})
    _draw_planes(axes[0], image, label, scheme)
    return png(figure)


def write_mosaic(path: Path, images: NDArray[np.float32]) -> None:
    """Write a PNG with the middle sagittal slice of each image [N, X, Y, Z], eight to a row."""
    rows = math.ceil(len(images) / _PER_ROW)
    margins = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.03, "hspace": 0.03}
    figure, axes = panels(rows, _PER_ROW, size=(_PER_ROW * 1.1, rows * 1.1), margins=margins)
    for place, image in zip(axes.flat, images, strict=False):
        flat = image[image.shape[0] // 2].T
        place.imshow(flat, origin="lower", cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    write_bytes(path, png(figure))


def panels(
    rows: int,
    columns: int,
    *,
    size: tuple[float, float],
    dpi: int = 110,
    margins: Mapping[str, float],
) -> tuple[Figure, NDArray[Any]]:
    """Return a black figure and its axes [rows, columns], without frames."""
    figure = Figure(figsize=size, dpi=dpi, facecolor="black")
    axes: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    near = {"left": 0.01, "right": 0.99, "bottom": 0.01, "wspace": 0.04}
    figure.subplots_adjust(**{**near, **margins})
    return figure, axes


def png(figure: Figure) -> bytes:
    """Return a figure as PNG; the same one gives the same bytes."""
    stream = BytesIO()
    figure.savefig(stream, format="png", facecolor="black", metadata={"Software": None})
    return stream.getvalue()


def _draw_planes(
    axes: Sequence[Axes], image: Volume, label: Volume | None, scheme: LabelScheme
) -> None:
    """Draw a slice of each plane through the centre of a label map."""
    labels = np.zeros(image.shape, dtype=np.uint16) if label is None else label.array
    centre = _centre(labels)
    for place, plane in zip(axes, PLANES, strict=True):
        draw_slice(place, image, labels, scheme, plane, centre[plane])


def _centre(label_map: NDArray[np.uint16]) -> list[int]:
    """Return the voxel at the centre of all labels, or of the grid without any."""
    places = np.argwhere(label_map > 0)
    middle = places.mean(axis=0) if len(places) else np.asarray(label_map.shape) / 2
    return [round(float(value)) for value in middle]


def draw_slice(
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


def mean_plot(summary: Summary, name: str = "all") -> str:
    """Return inline SVG: the mean headline score of a study per arm over n, with intervals.

    Args:
        summary: Of the study, or of a group of its subjects.
        name: Of the group, unique in a page.
    """

    def draw(axes: Axes) -> None:
        headline = summary.headline
        rows = [row for row in summary.means if row.metric == headline.name]
        for row in rows:
            if is_ceiling(row.arm):
                name = f"{row.arm} ({row.num_labelled} cases)"
                axes.axhline(row.mean, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=name)
                axes.axhspan(row.low, row.high, color=INK, alpha=0.08, linewidth=0)
        for arm, shift, chosen in _arms(rows):
            _points(axes, arm, chosen, shift=shift, label=arm)
        axes.set_ylabel(f"mean {headline.title}, {summary.scored_on} subjects")
        _legend(axes)

    return _over_n(draw, f"means-{_word(name)}", summary.num_labelled)


def difference_plot(summary: Summary, name: str = "all") -> str:
    """Return inline SVG: paired differences of the headline score from real only over n.

    Args:
        summary: Of the study, or of a group of its subjects.
        name: Of the group, unique in a page.
    """

    def draw(axes: Axes) -> None:
        headline = summary.headline
        rows = [row for row in summary.differences if row.metric == headline.name]
        axes.axhline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        for arm, shift, chosen in _arms([row for row in rows if is_floor(row.against)]):
            for row in chosen:
                _points(axes, arm, [row], shift=shift)
        axes.set_ylabel(f"difference in {headline.title}")

    return _over_n(draw, f"differences-{_word(name)}", summary.num_labelled)


def _word(name: str) -> str:
    """Return a name as ids in a page can hold it."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", name)


def _over_n(draw: Callable[[Axes], None], name: str, num_labelled: Sequence[int]) -> str:
    """Return a plot over the numbers of labelled cases, on a log axis with room at its ends."""

    def drawn(axes: Axes) -> None:
        draw(axes)
        axes.set_xscale("log")
        axes.set_xticks(list(num_labelled), [str(n) for n in num_labelled])
        axes.set_xlim(min(num_labelled) / 1.4, max(num_labelled) * 1.4)
        axes.minorticks_off()
        axes.set_xlabel("labelled cases")
        axes.margins(y=0.15)

    return svg_of(drawn, name)


def svg_of(draw: Callable[[Axes], None], name: str) -> str:
    """Return a plot as SVG without a frame, in the page's own text colour.

    Args:
        draw: Draws into the axes; what it draws in `INK` takes the page's colour.
        name: Unique in a page, for ids.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 10}):
        figure = Figure(figsize=(4.6, 3.7))
        axes = figure.subplots()
        draw(axes)
        _quiet(axes)
        figure.tight_layout()
        stream = StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for _ in ("width", "height"):
        svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[^"]*"', r"\1", svg, count=1)
    return svg.replace(INK, "currentColor")


R = TypeVar("R", Mean, Difference)


def _arms(rows: Sequence[R]) -> list[tuple[str, float, list[R]]]:
    """Return (arm, factor on n that sets arms side by side, its rows), the ceiling left out."""
    arms = [arm for arm in dict.fromkeys(row.arm for row in rows) if not is_ceiling(arm)]
    return [
        (arm, 1 + 0.05 * (place - (len(arms) - 1) / 2), [row for row in rows if row.arm == arm])
        for place, arm in enumerate(arms)
    ]


def _points(
    axes: Axes, arm: str, rows: Sequence[R], *, shift: float, label: str | None = None
) -> None:
    """Draw means with their intervals over n in an arm's colour."""
    table = sorted((row.num_labelled, row.mean, row.low, row.high) for row in rows)
    n, mean, low, high = np.array(table, dtype=float).T
    known = Arm.of_result(arm)
    colour, marker = (known.colour, known.marker) if known else (INK, "o")
    interval = [mean - low, high - mean]
    axes.errorbar(
        n * shift, mean, interval, color=colour, marker=marker, ms=4.5, capsize=2.5, label=label
    )


def _legend(axes: Axes) -> None:
    """Put the legend above the plot, two arms to a row."""
    axes.legend(
        frameon=False,
        labelcolor=INK,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        fontsize=9,
        borderaxespad=0.2,
    )


def _quiet(axes: Axes) -> None:
    """Set the page's own colour, and no frame."""
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.tick_params(colors=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(INK)
