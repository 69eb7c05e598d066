"""How cases, conditions, cohorts and studies look in a notebook: slices with contours, and tables.

What shows itself (`vcmaug.doors.Shown`) calls `html_of`, which has one function for each kind.
"""

import base64
from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape
from io import BytesIO

import numpy as np
import pandas as pd
from PIL import Image

from vcmaug.cohort.cohort import Cohort
from vcmaug.conditions.conditions import Conditions, StoredCondition
from vcmaug.data.case import Case
from vcmaug.data.cases import Cases
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map
from vcmaug.data.volume import Volume
from vcmaug.face.studies import Study
from vcmaug.report.figures import Column, contoured, in_a_row

__all__ = ["html_of"]

_MOST = 6  # cases side by side
_GREYS, _COLOURS = 48, 64  # of a picture; a notebook keeps all that it shows


@singledispatch
def html_of(noun: object) -> str:
    """Return HTML for a notebook.

    Args:
        noun: A case, cases, a condition, conditions, a volume, a cohort or a study; of anything
            else its text.
    """
    return f"<pre>{escape(repr(noun))}</pre>"


@html_of.register
def _(volume: Volume) -> str:
    """Show three slices through the middle, in the volume's own range of values."""
    array = volume.array.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    shown = Volume((array - low) / max(high - low, 1e-6), volume.affine)
    return _picture(in_a_row(shown, None, LabelScheme(()))) + _line(
        f"{_of_grid(volume)}; values from {low:.3g} to {high:.3g}"
    )


@html_of.register
def _(case: Case) -> str:
    """Show three slices of the image with the outlines of its structures."""
    image, label = _volumes(case)
    line = _line(f"case {case.case_id} of subject {case.subject_id}; {_of_grid(image)}")
    return _picture(in_a_row(image, label, _scheme_in(label))) + line


@html_of.register
def _(cases: Cases) -> str:
    """Show the first cases side by side."""
    columns = [_column(case) for case in cases.cases[:_MOST]]
    return _side_by_side(columns, cases.scheme) + _line(
        f"{len(cases)} cases of {len(cases.subjects)} subjects: {', '.join(cases.scheme.names)}"
    )


@html_of.register
def _(condition: StoredCondition) -> str:
    """Show three slices of the label map."""
    label_map = condition.label_map
    steps = ", ".join(step.builder for step in condition.row.steps)
    parents = ", ".join(condition.row.source_case_ids)
    return _picture(in_a_row(_blank(label_map), label_map, condition.scheme)) + _line(
        f"condition {condition.condition_id}: {steps} of {parents}"
    )


@html_of.register
def _(conditions: Conditions) -> str:
    """Show the first label maps side by side."""
    first = conditions[:_MOST]
    columns = [Column(one.condition_id, _blank(one.label_map), one.label_map) for one in first]
    return _side_by_side(columns, conditions.scheme) + _line(f"{len(conditions)} conditions")


@html_of.register
def _(cohort: Cohort) -> str:
    """Show the first drawn cases side by side, and how many requests ended how."""
    columns = [_column(case) for case in cohort.cases[:_MOST]]
    counts = ", ".join(f"{number} {status}" for status, number in cohort.card.counts.items())
    return _side_by_side(columns, cohort.scheme) + _line(f"cohort {cohort.folder.name}: {counts}")


@html_of.register
def _(study: Study) -> str:
    """Show the headline's differences, and what they are worth."""
    summary = study.summary
    rows = [
        (row.arm, row.against, *summary.rounded(row, "+"), summary.verdict(row))
        for row in summary.differences
        if row.metric == study.headline.name
    ]
    table = pd.DataFrame(rows, columns=["arm", "against", "mean", "low", "high", "verdict"])
    subjects, seeds = summary.num_test_subjects, len(summary.seeds)
    return (
        _line(f"{study.headline.title}, paired differences on {subjects} test subjects")
        + table.to_html(index=False, border=0)
        + _line(f"{seeds} seeds of the segmenter on the same cases, control and cohort")
        + "".join(map(_line, summary.notes))
    )


def _column(case: Case) -> Column:
    """Return a case in memory."""
    return Column(case.case_id, *_volumes(case))


def _volumes(case: Case) -> tuple[Volume, Volume | None]:
    """Return image and label map of a case."""
    image = read_image(case.image, case_id=case.case_id)
    if case.label is None:
        return image, None
    return image, read_label_map(case.label, case_id=case.case_id)


def _scheme_in(label: Volume | None) -> LabelScheme:
    """Return colours for the values of a label map, as every scheme gives them."""
    highest = 0 if label is None else int(label.array.max())
    values = {str(value): value for value in range(1, highest + 1)}
    return LabelScheme.from_mapping(values) if values else LabelScheme(())


def _blank(label_map: Volume) -> Volume:
    """Return a dark image on the grid of a label map."""
    return Volume(np.zeros(label_map.shape, dtype=np.float32), label_map.affine)


def _side_by_side(columns: Sequence[Column], scheme: LabelScheme) -> str:
    """Return cases side by side, in three planes."""
    return _picture(contoured(columns, scheme)) if columns else ""


def _picture(png: bytes) -> str:
    """Return a PNG as HTML, with a palette, which makes it smaller by two thirds."""
    stream = BytesIO()
    with Image.open(BytesIO(png)) as picture:
        _with_palette(picture.convert("RGB")).save(stream, format="png", optimize=True)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img style="max-width: 100%" src="data:image/png;base64,{text}">'


def _with_palette(picture: Image.Image) -> Image.Image:
    """Return a picture in greys for the image, and in colours that cover those of contours."""
    covering = picture.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    greys = [255 * level // (_GREYS - 1) for level in range(_GREYS) for _ in range(3)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(greys + covering[: 3 * _COLOURS])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _line(text: str) -> str:
    """Return a line of text as HTML."""
    return f"<p>{escape(text)}</p>"


def _of_grid(volume: Volume) -> str:
    """Return shape, spacing and orientation as words."""
    return (
        f"{_times(volume.shape)} voxels of {_times(f'{one:g}' for one in volume.spacing_mm)} mm, "
        f"{volume.orientation}"
    )


def _times(values: Iterable[object]) -> str:
    """Return values with a times sign between."""
    return " x ".join(map(str, values))
