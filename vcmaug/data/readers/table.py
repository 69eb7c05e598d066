"""A CSV or TSV with one row per case: case_id, image, and optionally label and further columns."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from vcmaug.data.case import Case
from vcmaug.data.reader import SubjectReader, images_of, read_table

__all__ = ["Table"]

_OWN = {"case_id", "subject_id", "image", "label"}


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
        for line, record in enumerate(table.to_dict("records"), start=2):
            row = {str(name): value for name, value in record.items()}
            if not _text(row.get("case_id")) or not _text(row.get("image")):
                faults.append(f"{path}, line {line}: no case_id or no image")
                continue
            cases.append(self._case(row, path.parent))
        return cases

    def tables(self, path: Path) -> list[Path]:
        """Return the table itself."""
        return [path]

    @property
    def expected(self) -> str:
        """Rows with an image."""
        return "rows with the columns case_id and image"

    def _case(self, row: dict[str, Any], folder: Path) -> Case:
        """Return one row as a case."""
        case_id = _text(row["case_id"])
        label = _text(row.get("label"))
        further = {
            name.removeprefix("image_"): folder / _text(value)
            for name, value in row.items()
            if name.startswith("image_") and _text(value)
        }
        rest = {k: v for k, v in row.items() if k not in _OWN and not k.startswith("image_")}
        return Case(
            case_id=case_id,
            subject_id=_text(row.get("subject_id")) or self.subject_of(case_id),
            images=images_of(folder / _text(row["image"]), further),
            label=folder / label if label else None,
            source=rest,
        )


def _text(value: Any) -> str:
    """Return a cell as text, empty if it is missing."""
    return value.strip() if isinstance(value, str) else ""
