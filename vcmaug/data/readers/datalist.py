"""MONAI datalist JSON: {"training": [{"image": ..., "label": ...}, ...]}.

References:
    MONAI's `load_decathlon_datalist`, which its Decathlon tools and Auto3DSeg read.
"""

from pathlib import Path
from typing import ClassVar, Literal

from vcmaug.data.case import Case
from vcmaug.data.reader import Entry, SubjectReader, stem_of
from vcmaug.files import read_json

__all__ = ["Datalist"]


class Datalist(SubjectReader):
    """The training and validation cases of a datalist, in its order."""

    name: Literal["datalist"] = "datalist"

    priority: ClassVar[int] = 2

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a JSON file."""
        return path.is_file() and path.suffix == ".json"

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a datalist; other images of a list are called 1, 2, and so on.

        Args:
            path: The JSON file; relative paths start at its folder.
            faults: Gets a sentence for an entry without an image.
        """
        content = read_json(path)
        entries = [*content.get("training", []), *content.get("validation", [])]
        cases = []
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not entry.get("image"):
                faults.append(f"{path}, entry {number}: no image")
                continue
            given = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
            image, *others = given
            columns = {name: value for name, value in entry.items() if name != "fold"}
            case_id = entry.get("case_id") or stem_of(image)
            cases.append(
                self.listed(
                    Entry.model_validate(columns | {"image": image, "case_id": case_id}),
                    {f"{place}": other for place, other in enumerate(others, start=1)},
                    folder=path.parent,
                )
            )
        return cases

    def tables(self, path: Path) -> list[Path]:
        """Return the datalist itself."""
        return [path]
