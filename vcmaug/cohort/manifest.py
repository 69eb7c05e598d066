"""The manifest: one row per request, with everything it came from.

What it is: the row, and the reading of a finished cohort.
In the flow: written by generation, read by quality, study and report.
Sources: none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from vcmaug.cohort.layout import CohortLayout
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import CohortError
from vcmaug.files import read_json, write_bytes, write_json, write_text
from vcmaug.provenance import machine, versions

__all__ = [
    "RUN_COLUMNS",
    "ManifestRow",
    "read_cohort_card",
    "read_manifest",
    "write_plain_cohort",
]

RUN_COLUMNS = ("shard", "device", "seconds", "phases", "drawn_together", "attempt", "versions")
"""Columns that describe the run; the others are equal whoever drew the cohort, and where."""


@dataclass(frozen=True)
class ManifestRow:
    """One request and what came of it; columns with a JSON text say so.

    What has a default is for cases that a sampler drew; a cohort made otherwise leaves it.
    """

    request_id: str
    index: int
    status: str  # "done"; "failed"; "rejected": no draw of it was accepted
    reason: str
    case_id: str
    subject_id: str
    image: str
    label: str
    image_sha256: str
    label_sha256: str
    condition_id: str
    condition_sha256: str
    source_case_ids: str  # JSON
    source_subject_ids: str  # JSON
    builder: str
    fold: str = ""  # of all its parents, in the split of the cases
    parameters: str = "{}"  # JSON
    seed: str = ""
    scalars: str = "{}"  # JSON
    sampler: str = "none"
    timesteps: str = "[]"  # JSON
    strength: float = 0.0
    interval: str = "[]"  # JSON
    prior_sha256: str = ""
    control_sha256: str = ""
    tries: int = 1  # draws until one was accepted; each has noise of its own
    checks: str = "{}"  # JSON: what was measured of the image
    micro_batch: int = 0
    shard: int = 0
    device: str = "cpu"
    seconds: float = 0.0
    phases: str = "{}"  # JSON: seconds by phase, the micro-batch's over its requests
    drawn_together: int = 1  # fewer than the micro-batch in later tries or where memory is short
    attempt: int = 1  # 1, and one more for each time its files were lost or its draw had failed
    versions: str = "{}"  # JSON

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON-like content."""
        return asdict(self)


def write_plain_cohort(
    layout: CohortLayout,
    rows: Sequence[ManifestRow],
    *,
    scheme: LabelScheme,
    about: Mapping[str, Any],
) -> pd.DataFrame:
    """Write the manifest and, last, the card of a cohort that no sampler drew; return the former.

    Args:
        layout: Of the cohort; its images and label maps are there.
        rows: One per case.
        scheme: Of the label maps.
        about: Who was seen: `subjects` by role, and the other keys of a card.
    """
    manifest = pd.DataFrame([row.to_json() for row in rows])
    write_bytes(layout.manifest, manifest.to_parquet(index=False))
    write_text(layout.manifest_csv, manifest.to_csv(index=False))
    card = {
        "kind": "cohort",
        "n": len(rows),
        "counts": {str(k): int(v) for k, v in manifest["status"].value_counts().items()},
        "scheme": scheme.to_json(),
        **about,
        "versions": versions(),
        "machine": machine(),
    }
    write_json(layout.card, card)
    return manifest


def read_manifest(folder: Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the manifest of a finished cohort, or some columns of it.

    Raises:
        CohortError: The cohort is not finished, or its manifest is damaged.
    """
    path = CohortLayout(folder).manifest
    if not path.exists():
        raise CohortError(
            f"reading cohort {folder}: there is no manifest.parquet, so it is not finished. Run "
            "the same `vcmaug generate` again; it draws what is missing."
        )
    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (pa.ArrowInvalid, OSError) as fault:
        raise CohortError(
            f"reading cohort {folder}: manifest.parquet is damaged ({fault}). Remove it and run "
            "the same `vcmaug generate` again; it is merged anew from its parts."
        ) from None


def read_cohort_card(folder: Path) -> dict[str, Any]:
    """Return cohort.json: scheme, and the subjects seen by prior, control and conditions.

    Raises:
        CohortError: The cohort is not finished.
    """
    path = CohortLayout(folder).card
    if not path.exists():
        raise CohortError(f"reading cohort {folder}: there is no cohort.json; it is not finished.")
    card: dict[str, Any] = read_json(path)
    return card
