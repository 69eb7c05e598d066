"""A CSV or TSV with one row per case: case_id, image, and optionally label and further columns."""

from pathlib import Path
from typing import ClassVar, Literal

from vcmaug.data.case import Case
from vcmaug.data.reader import Entry, SubjectReader, read_table, text

__all__ = ["Table"]


class Table(SubjectReader):
    """The cases of a table, in its order; `subject` serves where there is no column subject_id."""

    name: Literal["table"] = "table"

    priority: ClassVar[int] = 0

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a file."""
        return path.is_file()

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a table.

        Args:
            path: `.csv` or `.tsv`; relative paths in it start at its folder.
            faults: Gets a sentence for a missing column or an empty cell.
        """
        table = read_table(path)
        missing = [name for name in ("case_id", "image") if name not in table]
        if missing:
            faults += [f"{path}: no column {name!r}" for name in missing]
            return []
        cases = []
        for line, row in enumerate(table.to_dict("records"), start=2):
            others = {
                str(name).removeprefix("image_"): row.pop(name)
                for name in list(row)
                if str(name).startswith("image_")
            }
            entry = Entry.model_validate(row)
            if not entry.case_id or not entry.image:
                faults.append(f"{path}, line {line}: no case_id or no image")
                continue
            further = {name: text(cell) for name, cell in others.items() if text(cell)}
            cases.append(self.listed(entry, further, folder=path.parent))
        return cases

    def tables(self, path: Path) -> list[Path]:
        """Return the table itself."""
        return [path]

    @property
    def expected(self) -> str:
        """Rows with an image."""
        return "rows with the columns case_id and image"
