"""The pages of `vcmaug stress` and `vcmaug coverage`: where a segmenter fails, and who is there."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes

from vcmaug.downstream.statistics import in_decimals
from vcmaug.files import locked_file, write_text
from vcmaug.report.figures import INK, svg_of
from vcmaug.report.tables import Cell, Table, table_of
from vcmaug.stress.curve import Curve

__all__ = ["coverage_page", "stress_page"]

_BLUE, _RED = "#4477aa", "#ee6677"
_LIMITS = (
    "A grown head is a real one with one structure of another size. Grey values, age, disease and "
    "scanner of those who have such sizes are not in it.",
    "A sweep ranks segmenters and says from where on one is lost; it does not give the score that "
    "it will have on patients.",
)


def stress_page(curve: Curve, out: Path) -> Path:
    """Write the page of a stress test and return its path."""
    named = curve.structure.replace("_", " ")
    return _write(
        out,
        title=f"Stress test: {named}",
        curve=curve,
        headline=_headline(curve),
        sections=[_section(curve)],
    )


def coverage_page(
    curve: Curve | None,
    out: Path,
    *,
    structure: str,
    labelled_ml: Sequence[float],
    target_ml: Sequence[float],
    segmenter: str,
) -> Path:
    """Write the page that shows where a target population lies over the labelled cases.

    Args:
        curve: Of the same segmenter, beneath; None: there is none.
        out: The HTML file.
        structure: That was measured.
        labelled_ml: Its volumes in the label maps of the labelled cases.
        target_ml: Its volumes in the target, as the segmenter reads them.
        segmenter: Which one, in words.
    """
    named = structure.replace("_", " ")
    low, high = min(labelled_ml), max(labelled_ml)
    above, below = (
        int(np.count_nonzero(mask))
        for mask in (np.asarray(target_ml) > high, np.asarray(target_ml) < low)
    )
    population = {
        "title": "The target over the labelled cases",
        "sentences": [],
        "plots": [
            (
                f"Volume of {named}: labelled cases by their label maps, the target as read",
                svg_of(lambda axes: _histogram(axes, labelled_ml, target_ml, named), "population"),
            )
        ],
        "tables": [_volumes_table(labelled_ml, target_ml)],
    }
    return _write(
        out,
        title=f"Coverage: {named}",
        curve=curve,
        segmenter=segmenter,
        headline=[
            f"Of {len(target_ml)} target cases {above} lie above and {below} below the labelled "
            f"range of {low:.1f} to {high:.1f} ml, as this segmenter reads them.",
            *(_headline(curve) if curve is not None else []),
        ],
        sections=[population, *([_section(curve)] if curve is not None else [])],
        limits=[
            "Volumes of the target are a reading, not truth: where the segmenter fails they are "
            "wrong, and often too small."
        ],
    )


def _write(
    out: Path,
    *,
    title: str,
    curve: Curve | None,
    headline: Sequence[str],
    sections: Sequence[dict[str, Any]],
    segmenter: str = "",
    limits: Sequence[str] = (),
) -> Path:
    """Write a page."""
    environment = Environment(
        loader=PackageLoader("vcmaug.report", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("stress.html.j2").render(
        title=title,
        segmenter=segmenter or (curve.segmenter if curve is not None else ""),
        sweep=curve.sweep if curve is not None else "no stress test",
        headline=headline,
        notes=curve.notes if curve is not None else (),
        sections=sections,
        limits=[*limits, *(_LIMITS if curve is not None else ())],
    )
    with locked_file(out, purpose=f"writing {out.name}"):
        write_text(out, page)
    return out


def _headline(curve: Curve) -> list[str]:
    """Return what came out, in sentences."""
    known, named = curve.labelled_range_ml, curve.structure.replace("_", " ")
    if known is None:
        return [f"The labelled volumes of {named} are not known, so no range is shaded."]
    inside = [case for case in curve.cases if known[0] <= case.volume_ml <= known[1]]
    above = [case for case in curve.cases if case.volume_ml > known[1]]
    told = [f"The labelled cases have {named} of {known[0]:.1f} to {known[1]:.1f} ml."]
    for where, cases in (("Within that range", inside), ("Above it", above)):
        if cases:
            dice = np.mean([case.dice for case in cases])
            error = np.mean([case.volume_error for case in cases])
            told.append(
                f"{where} the mean Dice is {dice:.2f} and the mean volume error {error:.0f} % "
                f"({len(cases)} cases of the sweep)."
            )
    return told


def _section(curve: Curve) -> dict[str, Any]:
    """Return title, plots and tables of a stress test."""
    named = curve.structure.replace("_", " ")
    captions = {
        "dice": f"Dice of {named} over its volume; the labelled range is shaded",
        "volume_error": f"Volume error of {named}, %, over its volume",
    }
    plots = [
        (caption, svg_of(partial(_scores, curve=curve, key=key), f"stress-{key}"))
        for key, caption in captions.items()
    ]
    rows = [
        {
            "range": f"{one.low_ml:.0f} to {one.high_ml:.0f}",
            "num": one.num,
            "dice": Cell(in_decimals(one.dice, 2), is_number=True),
            "volume_error": Cell(in_decimals(one.volume_error, 0), is_number=True),
            "labelled": "yes" if one.is_labelled else "no",
        }
        for one in curve.bins
    ]
    columns = {
        "range": "volume, ml",
        "num": "cases",
        "dice": "Dice",
        "volume_error": "volume error, %",
        "labelled": "labelled cases there",
    }
    table = table_of("Means by volume.", rows, columns)
    return {"title": "The sweep", "sentences": [], "plots": plots, "tables": [table]}


def _scores(axes: Axes, *, curve: Curve, key: str) -> None:
    """Draw one score of every case, and its mean in each part of the range."""
    volumes = [case.volume_ml for case in curve.cases]
    axes.plot(
        volumes, [getattr(case, key) for case in curve.cases], "o", color=_BLUE, ms=3.5, alpha=0.5
    )
    bins = curve.bins
    middles = [(one.low_ml + one.high_ml) / 2 for one in bins]
    axes.plot(middles, [getattr(one, key) for one in bins], "-", color=_BLUE, linewidth=2)
    if (known := curve.labelled_range_ml) is not None:
        axes.axvspan(*known, color=INK, alpha=0.08, linewidth=0)
    axes.set_xlabel("volume, ml")
    axes.set_ylabel("Dice" if key == "dice" else "volume error, %")
    axes.set_ylim(0, 1 if key == "dice" else None)


def _histogram(
    axes: Axes, labelled_ml: Sequence[float], target_ml: Sequence[float], named: str
) -> None:
    """Draw how often each volume is among the labelled cases and in the target."""
    edges = np.linspace(0.0, max(*labelled_ml, *target_ml) * 1.02, 25).tolist()
    axes.hist(target_ml, edges, color=_RED, alpha=0.6, label="target, as read")
    axes.hist(labelled_ml, edges, color=_BLUE, alpha=0.7, label="labelled cases")
    axes.set_xlabel(f"{named}, ml")
    axes.set_ylabel("cases")
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)


def _volumes_table(labelled_ml: Sequence[float], target_ml: Sequence[float]) -> Table:
    """Return quantiles of both."""
    rows = [
        {
            "whose": whose,
            "num": len(volumes),
            **{
                f"q{q}": Cell(in_decimals(float(np.quantile(volumes, q / 100)), 1), is_number=True)
                for q in (0, 25, 50, 75, 100)
            },
        }
        for whose, volumes in (("labelled cases", labelled_ml), ("target, as read", target_ml))
    ]
    titles = {"q0": "least", "q25": "25 %", "q50": "median", "q75": "75 %", "q100": "largest"}
    return table_of("Volumes, ml.", rows, {"whose": "", "num": "cases", **titles})
