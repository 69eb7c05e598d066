"""A raw case, and the settings that say how to find raw cases.

What it is: what every reader gives and what every reader is told.
In the flow: between files on disk in somebody's layout and `prepare`.
Sources: none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from vcmaug.config import Settings

__all__ = ["RawCase", "SourceSettings", "case_pattern", "read_table", "rows_by_key"]

Format = Literal["auto", "folder", "table", "nnunet", "datalist", "bids"]


@dataclass(frozen=True)
class RawCase:
    """One case as it lies on disk, before anything is checked."""

    case_id: str
    subject_id: str
    image: Path
    label: Path | None = None
    extra_images: Mapping[str, Path] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)


class SourceSettings(Settings):
    """Where the cases are and how they are laid out."""

    source: str = Field(description="folder, table, nnU-Net or BIDS root, or MONAI datalist")
    format: Format = "auto"
    images: str = Field("images/{case}.nii.gz", description="pattern, for a plain folder")
    labels: str = Field("labels/{case}.nii.gz", description="pattern, for a plain folder")
    table: str | None = Field(None, description="CSV or TSV with further columns, by case")
    table_key: str = Field("case_id", description="column of the table that holds the case id")
    subject: str | None = Field(
        None, description="regular expression with one group: the subject in a case id"
    )
    label_suffix: str = Field("dseg", description="BIDS suffix of label maps in derivatives")
    image_suffix: str = Field("T1w", description="BIDS suffix of images")

    def subject_of(self, case_id: str) -> str:
        """Return the subject id in a case id; the case id itself without a pattern or a match."""
        found = re.search(self.subject, case_id) if self.subject else None
        return found.group(1) if found else case_id


def case_pattern(pattern: str) -> tuple[str, re.Pattern[str]]:
    """Return a glob and a regular expression for a pattern with `{case}` in it.

    Examples:
        >>> glob, expression = case_pattern("t1/{case}_T1.nii.gz")
        >>> glob, expression.fullmatch("t1/A1_T1.nii.gz").group("case")
        ('t1/*_T1.nii.gz', 'A1')
    """
    expression = re.escape(pattern).replace(re.escape("{case}"), "(?P<case>[^/]+)")
    return pattern.replace("{case}", "*"), re.compile(expression)


def read_table(path: Path) -> pd.DataFrame:
    """Return a CSV or TSV table, ids as text."""
    separator = "\t" if path.suffix == ".tsv" else ","
    return pd.read_csv(path, sep=separator, dtype={"case_id": str, "subject_id": str})


def rows_by_key(path: Path, key: str, faults: list[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by the text in its key column."""
    if not path.exists():
        faults.append(f"{path}: there is no such table")
        return {}
    table = read_table(path)
    if key not in table:
        faults.append(f"{path}: no column {key!r}; it has {', '.join(map(str, table.columns))}")
        return {}
    doubled = table[key][table[key].duplicated()].astype(str)
    faults += [f"case {value}, {path}: the id stands twice in the table" for value in doubled]
    rows = table.drop(columns=[key]).to_dict("records")
    named = [{str(name): value for name, value in row.items()} for row in rows]
    return dict(zip(table[key].astype(str), named, strict=True))
