"""The manifest of a finished cohort: one row per request, with everything that its case came from.

manifest.parquet is the truth; manifest.csv beside it is for people.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.row import DONE, RUN_COLUMNS, ManifestRow
from vcmaug.cohort.table import COLUMNS, rows_in
from vcmaug.errors import CohortError

__all__ = [
    "COLUMNS",
    "RUN_COLUMNS",
    "ManifestRow",
    "finished",
    "iterate_rows",
    "read_manifest",
    "read_rows",
]


def read_manifest(folder: Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the manifest of a finished cohort, or some columns of it; maps are dictionaries.

    Raises:
        CohortError: The cohort is not finished, or its manifest is damaged or of an older version.
    """
    with _being_read(folder) as path:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
        frame: pd.DataFrame = table.to_pandas(maps_as_pydicts="strict")
        return frame


def read_rows(folder: Path) -> tuple[ManifestRow, ...]:
    """Return the manifest of a finished cohort as records.

    Raises:
        CohortError: As for `read_manifest`.
    """
    return tuple(iterate_rows(folder))


def iterate_rows(folder: Path) -> Iterator[ManifestRow]:
    """Yield the rows of a manifest; not all are in memory at once.

    Raises:
        CohortError: As for `read_manifest`.
    """
    with _being_read(folder) as path:
        yield from rows_in(path)


def finished(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the cases that are there."""
    return manifest[manifest["status"] == DONE]


@contextmanager
def _being_read(folder: Path) -> Iterator[Path]:
    """Yield the path of a manifest, and say of one that cannot be read what to do."""
    path = CohortLayout(folder).manifest
    if not path.exists():
        raise CohortError(
            f"reading cohort {folder}: there is no manifest.parquet, so it is not finished. Run "
            "the same `vcmaug generate` again; it draws what is missing."
        )
    try:
        _refuse_older(path)
        yield path
    except (pa.ArrowInvalid, OSError) as fault:
        raise CohortError(
            f"reading cohort {folder}: manifest.parquet is damaged ({fault}). Remove it and run "
            "the same `vcmaug generate` again; it will be merged again from its parts."
        ) from None


def _refuse_older(path: Path) -> None:
    """Refuse a manifest that an older version wrote."""
    schema = pq.read_schema(path)
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing or not pa.types.is_list(schema.field("source_case_ids").type):
        raise CohortError(
            f"reading {path}: it was made by an older version. Move the cohort's folder away and "
            "make the cohort again."
        )
