"""A plain folder of images and label maps, named by two patterns."""

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from vcmaug.data.case import Case
from vcmaug.data.reader import SubjectReader, images_of, rows_by_key

__all__ = ["Folder", "case_pattern"]


class Folder(SubjectReader):
    """Images and label maps whose names fit two patterns, and a table with further columns."""

    name: Literal["folder"] = "folder"
    images: str = Field("images/{case}.nii.gz", description="pattern of images")
    labels: str = Field("labels/{case}.nii.gz", description="pattern of label maps")
    table: str | None = Field(None, description="CSV or TSV with further columns, by case")
    table_key: str = Field("case_id", description="column of the table that holds the case id")

    priority: ClassVar[int] = 0

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a folder."""
        return path.is_dir()

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a folder, in order of their ids.

        Args:
            path: The folder.
            faults: Gets a sentence for a label map without an image and for a bad table.
        """
        images, labels = _by_case(path, self.images), _by_case(path, self.labels)
        faults += [
            f"case {case_id}, {labels[case_id]}: a label map without an image"
            for case_id in sorted(set(labels) - set(images))
        ]
        rows = self._rows(path, set(images), faults)
        return [
            Case(
                case_id=case_id,
                subject_id=str(rows.get(case_id, {}).get("subject_id", self.subject_of(case_id))),
                images=images_of(image),
                label=labels.get(case_id),
                source=rows.get(case_id, {}),
            )
            for case_id, image in sorted(images.items())
        ]

    def _rows(self, path: Path, case_ids: set[str], faults: list[str]) -> dict[str, dict[str, Any]]:
        """Return the rows of the table by case; none without a table."""
        if self.table is None:
            return {}
        rows = rows_by_key(path / self.table, self.table_key, faults)
        missing = sorted(case_ids - set(rows)) if rows else []
        faults += [f"case {case_id}: not in {path / self.table}" for case_id in missing]
        return rows

    def tables(self, path: Path) -> list[Path]:
        """Return the table if one is named."""
        return [] if self.table is None else [path / self.table]

    @property
    def expected(self) -> str:
        """Images named as the pattern says."""
        return f"images named like {self.images}"


def case_pattern(pattern: str) -> tuple[str, re.Pattern[str]]:
    """Return a glob and a regular expression for a pattern with `{case}` in it.

    Examples:
        >>> glob, expression = case_pattern("t1/{case}_T1.nii.gz")
        >>> glob, expression.fullmatch("t1/A1_T1.nii.gz").group("case")
        ('t1/*_T1.nii.gz', 'A1')
    """
    expression = re.escape(pattern).replace(re.escape("{case}"), "(?P<case>[^/]+)")
    return pattern.replace("{case}", "*"), re.compile(expression)


def _by_case(root: Path, pattern: str) -> dict[str, Path]:
    """Return the files that fit a pattern, by the case in their name."""
    glob, expression = case_pattern(pattern)
    found = {}
    for path in root.glob(glob):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match and not path.name.startswith("."):
            found[match.group("case")] = path
    return found
