"""Readers: from a layout on disk to cases; a part for each layout, in `vcmaug.data.readers`.

A reader lists the cases that it finds and adds a sentence to `faults` for what it cannot use;
`prepare` reports all of them together.
"""

import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from vcmaug.data.case import IMAGE, Case, Cell
from vcmaug.parts import Part

__all__ = [
    "Entry",
    "Reader",
    "SubjectPattern",
    "SubjectReader",
    "by_case",
    "files_below",
    "images_of",
    "stem_of",
    "worded",
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


def _blank(value: object) -> object:
    """Return nothing said as an empty text."""
    return "" if value is None else value


def _id_text(value: object) -> object:
    """Return an id as text: whole numbers alike, NaN as nothing said, and accents in one form."""
    if isinstance(value, float):
        value = None if value != value else f"{value:.15g}"
    said = str(value) if type(value) is int else _blank(value)
    return normalize("NFC", said) if isinstance(said, str) else said


def _only(value: object) -> object:
    """Return the one entry of a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else _blank(value)


def _with_group(pattern: str) -> str:
    """Refuse an expression that cannot be read, or without a group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as fault:
        raise ValueError(f"no regular expression: {fault}") from None
    if groups < 1:
        raise ValueError("expected a regular expression with a group for the subject")
    return pattern


Id = Annotated[str, BeforeValidator(_id_text)]
SubjectPattern = Annotated[str, AfterValidator(_with_group)]
"""A regular expression whose first group is the subject."""


class Entry(BaseModel):
    """A case as a row of a table or an entry of a list names it; other columns come along.

    Attributes:
        case_id: Unique; empty where it is not said.
        subject_id: The person; empty where it is not said.
        image: Path of the image.
        label: Path of the label map; empty: there is none.
    """

    model_config = ConfigDict(extra="allow", frozen=True, str_strip_whitespace=True)

    case_id: Id = ""
    subject_id: Id = ""
    image: Annotated[str, BeforeValidator(_blank)] = ""
    label: Annotated[str, BeforeValidator(_only)] = ""


class SubjectReader(Reader):
    """A reader of layouts that do not name the subject of a case."""

    subject: SubjectPattern | None = Field(
        None, description="regular expression with one group: the subject in a case id"
    )

    def subject_of(self, case_id: str, faults: list[str]) -> str:
        """Return the subject id in a case id; without a pattern the case id itself.

        Args:
            case_id: To search.
            faults: Gets a sentence where the pattern finds no subject.
        """
        if self.subject is None:
            return case_id
        found = re.search(self.subject, case_id)
        if found is None or not found.group(1):
            faults.append(
                f"case {case_id}: the pattern {self.subject!r} finds no subject in it, expected "
                "one; correct the pattern or the id"
            )
            return case_id
        return normalize("NFC", found.group(1))

    def listed(
        self, entry: Entry, further: Mapping[str, str], faults: list[str], *, folder: Path
    ) -> Case:
        """Return an entry of a list as a case.

        Args:
            entry: With an id and an image.
            further: Paths of other images by name.
            faults: Gets a sentence where the pattern finds no subject, or a name stands twice.
            folder: Where relative paths start.
        """
        if IMAGE in further:
            faults.append(
                f"case {entry.case_id}: a further image called {IMAGE!r}, as the first one is; "
                "give it another name"
            )
        return Case(
            case_id=entry.case_id,
            subject_id=entry.subject_id or self.subject_of(entry.case_id, faults),
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
            faults: Gets a sentence for a label map without an image, and where the pattern finds
                no subject.
            rows: Of a table, by case; a column subject_id is heeded.
        """
        faults += [
            f"case {case_id}, {labels[case_id]}: a label map without an image, expected one; add "
            "it or move the label map away"
            for case_id in sorted(set(labels) - set(images))
        ]
        said = {case_id: str(row.get("subject_id", "")) for case_id, row in rows.items()}
        return [
            Case(
                case_id,
                said.get(case_id) or self.subject_of(case_id, faults),
                its,
                labels.get(case_id),
                rows.get(case_id, {}),
            )
            for case_id, its in images.items()
        ]


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
        if match is None or path.name.startswith(".") or match.group("case").startswith("."):
            continue
        case_id = match.group("case")
        if case_id in found:
            faults.append(f"case {case_id}, {path}: a second file beside {found[case_id].name}")
        found.setdefault(case_id, path)
    return found


def files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield the files under a folder in the order of their names; hidden ones are left out.

    Args:
        folder: Links in it are followed; nothing where it is not there.
        above: Real paths of the folders around it; a link to one of them is not followed.
    """
    real = os.path.realpath(folder)
    if real in above or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_below(path, above | {real})
        else:
            yield path


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


def worded(fault: ValidationError) -> str:
    """Return what is wrong with the content of a file, as a phrase."""
    return "; ".join(
        f"{'.'.join(map(str, error['loc']))}: {error['msg']} (found {error['input']!r})"
        for error in fault.errors()
    )
