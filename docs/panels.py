"""Two panels side by side in an SVG that is readable on white and on black."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["INK", "over_counts", "two_panels"]

INK = "#57606a"


@contextmanager
def two_panels(path: Path) -> Iterator[tuple[Axes, Axes]]:
    """Give two axes, and write their figure afterwards; the same data give the same bytes."""
    path.parent.mkdir(exist_ok=True)
    settings = {
        "svg.hashsalt": path.parent.name,
        "svg.fonttype": "none",
        "font.size": 10,
        **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
        **{f"axes.{part}": INK for part in ("edgecolor", "labelcolor")},
    }
    with rc_context(settings):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        figure.patch.set_alpha(0.0)
        first, second = figure.subplots(1, 2)
        for axes in (first, second):
            axes.patch.set_alpha(0.0)
        yield first, second
        figure.savefig(path, format="svg", metadata={"Date": None})


def over_counts(axes: Axes, counts: tuple[int, ...], *, what: str, label: str) -> None:
    """Write counts at the ticks of a logarithmic axis, and what both axes are."""
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel(what)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
