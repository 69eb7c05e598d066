"""A plain folder of images and label maps, named by two patterns."""

import re
from glob import escape
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from vcmaug.data.case import Case, Cell
from vcmaug.data.reader import SubjectReader, by_case, images_of
from vcmaug.data.subjects import rows_of

__all__ = ["Folder", "files_like"]


def _with_case(pattern: str) -> str:
    """Refuse a pattern that names no case, or no place in the folder."""
    if "{case}" not in pattern or Path(pattern).is_absolute():
        raise ValueError("expected a path in the folder with {case} in it, e.g. t1/{case}.nii.gz")
    return pattern


CasePattern = Annotated[str, AfterValidator(_with_case)]


class Folder(SubjectReader):
    """Images and label maps whose names fit two patterns, and a table with further columns."""

    name: Literal["folder"] = "folder"
    images: CasePattern = Field("images/{case}.nii.gz", description="pattern of images")
    labels: CasePattern = Field("labels/{case}.nii.gz", description="pattern of label maps")
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
        images = sorted(files_like(self.images, path, faults).items())
        rows: dict[str, dict[str, Cell]] = {}
        for table in self.tables(path):
            names = [case_id for case_id, _ in images]
            rows |= rows_of(names, table, self.table_key, faults, what="case")
        return self.paired(
            {case_id: images_of(image) for case_id, image in images},
            files_like(self.labels, path, faults),
            faults,
            rows=rows,
        )

    def tables(self, path: Path) -> list[Path]:
        """Return the table if one is named."""
        return [] if self.table is None else [path / self.table]

    @property
    def expected(self) -> str:
        """Images named as the pattern says."""
        return f"images named like {self.images}"


def files_like(pattern: str, root: Path, faults: list[str]) -> dict[str, Path]:
    """Return the files under a folder that fit a pattern, by what stands for `{case}` in it.

    Args:
        pattern: Such as t1/{case}_T1.nii.gz, or {case}/{case}_T1.nii.gz.
        root: The folder.
        faults: Gets a sentence for a second file of a case, and for a file that would fit but for
            being compressed or not.
    """
    found = _matches(pattern, root, faults)
    stem, ending = pattern.removesuffix(".gz"), ".gz" if pattern.endswith(".nii") else ""
    if stem.endswith(".nii"):
        faults += [
            f"case {case_id}, {path}: not read, expected {pattern}; name all files alike"
            for case_id, path in _matches(stem + ending, root, []).items()
            if case_id not in found
        ]
    return found


def _matches(pattern: str, root: Path, faults: list[str]) -> dict[str, Path]:
    """Return the files that fit a pattern, by case; see `files_like`."""
    case = re.escape("{case}")
    expression = re.escape(pattern).replace(case, "(?P<case>[^/]+)", 1).replace(case, "(?P=case)")
    like = "*".join(map(escape, pattern.split("{case}")))
    return by_case(root.glob(like), expression, faults, root=root)
