"""`warp`: the rival that needs no generator; the source's own image under the condition's bend.

What it is: a cohort for the same conditions as the control's, its images warped and not drawn.
In the flow: an arm of the study; what a drawn cohort brings beyond deformation shows against it.
Sources: classical elastic augmentation, Simard et al. 2003, ICDAR.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import ManifestRow, write_plain_cohort
from vcmaug.conditions.perturb import displacement_of, mirrored_if
from vcmaug.conditions.replay import map_bytes
from vcmaug.conditions.table import read_conditions
from vcmaug.data.cases import Case
from vcmaug.data.deformation import warp_image
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import label_map_in, read_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import locked
from vcmaug.progress import Progress, Report, silent
from vcmaug.rivals.rows import about_rival, write_row

__all__ = ["is_warped", "warp_cohort"]

_SHOWING = {"modalities", "lowres"}  # builders that leave the map as it is


def warp_cohort(
    conditions: Path,
    cases: Sequence[Case],
    *,
    scheme: LabelScheme,
    n: int,
    out: Path,
    report: Report = silent,
) -> pd.DataFrame:
    """Write a cohort of warped cases and return its manifest.

    Args:
        conditions: Folder of conditions; those that `perturb` built can be warped.
        cases: The labelled cases that they were built from.
        scheme: Of the label maps.
        n: How many; a condition gives one image only, so at most as many as there are.
        out: The cohort's folder.
        report: Told after every case.

    Raises:
        CohortError: There are fewer conditions that perturb alone made, without resizing a
            structure, than asked for.
    """
    table = read_conditions(conditions)
    table = table[[is_warped(steps) for steps in table["steps"]]]
    if not 1 <= n <= len(table):
        raise CohortError(
            f"warping {n} cases of {conditions}: it holds {len(table)} conditions that perturb "
            f"alone made without resizing, asked for are {n}. Build more, warp fewer, "
            "or leave the arm out."
        )
    by_id = {case.case_id: case for case in cases}
    layout = CohortLayout(out)
    with locked(out, purpose="warping"):
        rows = []
        for index, record in enumerate(table.head(n).to_dict("records")):
            asked = {str(name): value for name, value in record.items()}
            source = by_id[json.loads(asked["source_case_ids"])[0]]
            row = _warp(index, asked, source, conditions, layout=layout)
            rows.append(row)
            report(Progress("warping", index + 1, n))
        about = about_rival(cases, conditions_folder=str(conditions.resolve()))
        return write_plain_cohort(layout, rows, scheme=scheme, about=about)


def is_warped(steps: str) -> bool:
    """Return whether a condition's steps, as JSON, can be done to an image too."""
    listed = json.loads(steps)
    if [step["builder"] for step in listed[:1]] != ["perturb"] or listed[0]["parameters"]["resize"]:
        return False
    return {step["builder"] for step in listed[1:]} <= _SHOWING


def _warp(
    index: int,
    asked: Mapping[str, Any],
    source: Case,
    conditions: Path,
    *,
    layout: CohortLayout,
) -> ManifestRow:
    """Write image and label map of one condition and return its row."""
    began = time.perf_counter()
    label_file = map_bytes(conditions, asked)
    label_map = label_map_in(label_file)
    steps = json.loads(asked["steps"])
    parameters = steps[0]["parameters"]
    image = read_image(source.image, case_id=source.case_id)
    displacement = displacement_of(parameters, label_map)
    bent = warp_image(mirrored_if(image, parameters), displacement)
    return write_row(
        layout,
        index,
        rival="warp",
        image=Volume(bent, label_map.affine),
        label_file=label_file,
        condition_id=str(asked["condition_id"]),
        parents=(source,),
        parameters=steps,
        seed=int(asked["seed"]),
        seconds=time.perf_counter() - began,
    )
