"""Cohorts that no sampler drew: their manifest and card, once images and label maps are there."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vcmaug.cohort.card import CohortCard, SeenByCohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_manifest, type_of_parameters, write_rows
from vcmaug.cohort.row import ManifestRow
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_label_map
from vcmaug.provenance import machine, versions

__all__ = ["write_plain_cohort"]


def write_plain_cohort(
    layout: CohortLayout,
    rows: Sequence[ManifestRow],
    *,
    scheme: LabelScheme,
    seen: SeenByCohort,
    conditions_folder: Path | None = None,
) -> pd.DataFrame:
    """Write the manifest and, last, the card of a cohort that no sampler drew; return the former.

    Args:
        layout: Of the cohort; its images and label maps are there.
        rows: At least one; one per case.
        scheme: Of the label maps.
        seen: Who was seen.
        conditions_folder: Where the conditions lie that the cases were made for.
    """
    paths = layout.manifest, layout.manifest_csv
    write_rows(paths, rows, parameters=type_of_parameters([rows]))
    label = read_label_map(layout.folder / rows[0].label, case_id=rows[0].case_id)
    card = CohortCard(
        n=len(rows),
        counts=dict(Counter(row.status for row in rows)),
        scheme=scheme,
        grid=Grid(label.shape, spacing_mm=label.spacing_mm, orientation=label.orientation),
        seen=seen,
        conditions_folder=str(conditions_folder.resolve()) if conditions_folder else None,
        versions=versions(),
        machine=machine(),
    )
    card.write(layout.folder)
    return read_manifest(layout.folder)
