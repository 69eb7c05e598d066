"""Readers: from a layout on disk to cases; a part for each layout, in `vcmaug.data.readers`.

A reader lists the cases that it finds and adds a sentence to `faults` for what it cannot use;
`prepare` reports all of them together.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vcmaug.data.case import IMAGE, Case, Cell
from vcmaug.parts import Part

__all__ = [
    "Entry",
    "Reader",
    "SubjectReader",
    "by_case",
    "images_of",
    "read_table",
    "rows_by_key",
    "stem_of",
    "text",
]


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


def text(cell: object) -> str:
    """Return a cell as text, empty if it is missing."""
    return "" if cell is None or cell != cell else str(cell).strip()  # NaN is not itself


Text = Annotated[str, BeforeValidator(text)]


class Entry(BaseModel):
    """A case as a row of a table or an entry of a list names it; other columns come along.

    Attributes:
        case_id: Unique; empty where it is not said.
        subject_id: The person; empty where it is not said.
        image: Path of the image.
        label: Path of the label map; empty: there is none.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    case_id: Text = ""
    subject_id: Text = ""
    image: Text = ""
    label: Text = ""


class SubjectReader(Reader):
    """A reader of layouts that do not name the subject of a case."""

    subject: str | None = Field(
        None, description="regular expression with one group: the subject in a case id"
    )

    def subject_of(self, case_id: str) -> str:
        """Return the subject id in a case id; the case id itself without a pattern or a match."""
        found = re.search(self.subject, case_id) if self.subject else None
        return found.group(1) if found else case_id

    def listed(self, entry: Entry, further: Mapping[str, str], *, folder: Path) -> Case:
        """Return an entry of a list as a case.

        Args:
            entry: With an id and an image.
            further: Paths of other images by name.
            folder: Where relative paths start.
        """
        return Case(
            case_id=entry.case_id,
            subject_id=entry.subject_id or self.subject_of(entry.case_id),
            images={k: folder / path for k, path in {IMAGE: entry.image, **further}.items()},
            label=folder / entry.label if entry.label else None,
            source=entry.model_extra or {},
        )

    def paired(
        self,
        images: Mapping[str, Mapping[str, Path]],
        labels: Mapping[str, Path],
        faults: list[str],
        *,
        rows: Mapping[str, Mapping[str, Cell]] = MappingProxyType({}),
    ) -> list[Case]:
        """Return cases of files that were found by themselves, in the order of the images.

        Args:
            images: By case and name.
            labels: By case.
            faults: Gets a sentence for a label map without an image.
            rows: Of a table, by case; a column subject_id is heeded.
        """
        faults += [
            f"case {case_id}, {labels[case_id]}: a label map without an image"
            for case_id in sorted(set(labels) - set(images))
        ]
        cases = []
        for case_id, its in images.items():
            row = rows.get(case_id, {})
            subject_id = str(row.get("subject_id", self.subject_of(case_id)))
            cases.append(Case(case_id, subject_id, its, labels.get(case_id), row))
        return cases


def by_case(
    paths: Iterable[Path], expression: str, faults: list[str], *, root: Path
) -> dict[str, Path]:
    """Return files by case, in the order of their names; hidden ones are left out.

    Args:
        paths: Of the files.
        expression: A regular expression for a path under the root, its group is the case.
        faults: Gets a sentence for a second file of a case.
        root: Of the source.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        match = re.fullmatch(expression, path.relative_to(root).as_posix())
        if match is None or path.name.startswith("."):
            continue
        case_id = match.group("case")
        if case_id in found:
            faults.append(f"case {case_id}, {path}: a second file beside {found[case_id].name}")
        found.setdefault(case_id, path)
    return found


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


def rows_by_key(path: Path, key: str, faults: list[str]) -> dict[str, dict[str, Cell]]:
    """Return the rows of a table by the text in its key column."""
    if not path.exists():
        faults.append(f"{path}: there is no such table")
        return {}
    table = read_table(path)
    if key not in table:
        faults.append(f"{path}: no column {key!r}; it has {', '.join(map(str, table.columns))}")
        return {}
    ids = table.pop(key).astype(str)
    faults += [
        f"case {value}, {path}: the id stands twice in the table" for value in ids[ids.duplicated()]
    ]
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    return dict(zip(ids, rows, strict=True))
