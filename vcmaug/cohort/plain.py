"""Cohorts that no sampler drew: their manifest and card, once images and label maps are there."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from vcmaug.cohort.card import CohortCard, SeenByCohort, write_cohort_card
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_manifest
from vcmaug.cohort.row import ManifestRow
from vcmaug.cohort.table import TableWriter, type_of_parameters
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
    with ExitStack() as stack:
        table = TableWriter(
            stack,
            parquet=layout.manifest,
            csv=layout.manifest_csv,
            parameters=type_of_parameters([rows]),
        )
        for row in rows:
            table.add(row)
        table.close()
    card = CohortCard(
        n=len(rows),
        counts=dict(Counter(row.status for row in rows)),
        scheme=scheme,
        grid=_grid_of(layout.folder / rows[0].label),
        seen=seen,
        conditions_folder=str(conditions_folder.resolve()) if conditions_folder else None,
        versions=versions(),
        machine=machine(),
    )
    write_cohort_card(layout.folder, card)
    return read_manifest(layout.folder)


def _grid_of(label: Path) -> Grid:
    """Return the grid of a label map."""
    volume = read_label_map(label, case_id=label.name)
    return Grid(shape=volume.shape, spacing_mm=volume.spacing_mm, orientation=volume.orientation)
