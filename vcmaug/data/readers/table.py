"""A CSV or TSV with one row per case: case_id, image, and optionally label and further columns."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcmaug.config import RecipePath
from vcmaug.data.case import Case
from vcmaug.data.reader import Entry, SubjectReader
from vcmaug.data.subjects import unnamed_subjects
from vcmaug.data.text_table import read_rows

__all__ = ["Table"]

_FURTHER = "image_"


class Table(SubjectReader):
    """The cases of a table, in its order; `subject` serves where there is no column subject_id."""

    name: Literal["table"] = "table"
    root: RecipePath | None = Field(
        None, description="where relative paths in it start; none: at its own folder"
    )

    priority: ClassVar[int] = 0

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a file."""
        return path.is_file()

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a table.

        Args:
            path: Of the table.
            faults: Gets a sentence for a missing column or an empty cell.
        """
        cases, needs, folder = [], ("case_id", "image"), self.root or path.parent
        rows = read_rows(path, needs=needs, knows=("subject_id", "label"), faults=faults)
        faults += unnamed_subjects({row.place: row.cells.get("subject_id", "") for row in rows})
        for row in rows:
            further = {k: path for k, path in row.cells.items() if k.lower().startswith(_FURTHER)}
            entry = Entry.model_validate({k: v for k, v in row.cells.items() if k not in further})
            faults += [
                f"{row.place}: no {name}, expected one in every line; fill it in or delete the line"
                for name in needs
                if not row.cells[name]
            ]
            if entry.case_id and entry.image:
                others = {k[len(_FURTHER) :]: v for k, v in further.items() if v}
                cases.append(self.listed(entry, others, faults, folder=folder))
        return cases

    def tables(self, path: Path) -> list[Path]:
        """Return the table itself."""
        return [path]

    @property
    def expected(self) -> str:
        """Rows with an image."""
        return "rows with the columns case_id and image"
