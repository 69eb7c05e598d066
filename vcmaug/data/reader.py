"""Readers: from a layout on disk to cases; a part for each layout, in `vcmaug.data.readers`.

A reader lists the cases that it finds and adds a sentence to `faults` for what it cannot use;
`prepare` reports all of them together.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from pydantic import Field

from vcmaug.data.case import IMAGE, Case
from vcmaug.parts import Part

__all__ = ["Reader", "SubjectReader", "images_of", "read_table", "rows_by_key", "stem_of"]


class Reader(Part):
    """The family of readers; a new layout is one file with one part.

    Attributes:
        priority: Readers of a higher one are asked first whether they recognise a source.
    """

    family: ClassVar[str] = "reader"
    home: ClassVar[str] = "vcmaug.data.readers"
    priority: ClassVar[int] = 1

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a file or folder looks like this layout; no, for one that is named."""
        del path
        return False

    def chosen(self, path: Path) -> "Reader":
        """Return the reader that reads a source: this one, unless it chooses another."""
        return self

    @abstractmethod
    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a source.

        Args:
            path: The file or folder.
            faults: Gets a sentence for everything that cannot be used.
        """

    def tables(self, path: Path) -> list[Path]:
        """Return the files that are read besides images and label maps."""
        return []

    def files(self, path: Path) -> list[Path]:
        """Return every file of a source that is read, in a fixed order."""
        named = [file for case in self.cases(path, []) for file in case.files.values()]
        return list(dict.fromkeys([*self.tables(path), *named]))

    @property
    def expected(self) -> str:
        """What the images of a source are expected to be, for a message that there are none."""
        return "images"


class SubjectReader(Reader):
    """A reader of layouts that do not name the subject of a case."""

    subject: str | None = Field(
        None, description="regular expression with one group: the subject in a case id"
    )

    def subject_of(self, case_id: str) -> str:
        """Return the subject id in a case id; the case id itself without a pattern or a match."""
        found = re.search(self.subject, case_id) if self.subject else None
        return found.group(1) if found else case_id


def images_of(first: Path, further: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Return the images of a case by name, the one that networks read first."""
    return {IMAGE: first, **(further or {})}


def stem_of(name: str) -> str:
    """Return a file name without folders and without .nii or .nii.gz.

    Examples:
        >>> stem_of("images/a.b.nii.gz")
        'a.b'
    """
    return Path(name).name.removesuffix(".gz").removesuffix(".nii")


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
