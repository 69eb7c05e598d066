"""MONAI datalist JSON: {"training": [{"image": ..., "label": ...}, ...]}.

References:
    MONAI's `load_decathlon_datalist`, which its Decathlon tools and Auto3DSeg read.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

from vcmaug.data.case import Case
from vcmaug.data.reader import SubjectReader, images_of, stem_of
from vcmaug.files import read_json

__all__ = ["Datalist"]

_OWN = {"image", "label", "case_id", "subject_id", "fold"}


class Datalist(SubjectReader):
    """The training and validation cases of a datalist, in its order."""

    name: Literal["datalist"] = "datalist"

    priority: ClassVar[int] = 2

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a JSON file."""
        return path.is_file() and path.suffix == ".json"

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a datalist.

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
            cases.append(self._case(entry, path.parent))
        return cases

    def tables(self, path: Path) -> list[Path]:
        """Return the datalist itself."""
        return [path]

    def _case(self, entry: dict[str, Any], folder: Path) -> Case:
        """Return one entry as a case; other images of a list are called 1, 2, and so on."""
        images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        case_id = str(entry.get("case_id") or stem_of(images[0]))
        label = entry.get("label")
        further = {f"{number}": folder / image for number, image in enumerate(images)}
        return Case(
            case_id=case_id,
            subject_id=str(entry.get("subject_id") or self.subject_of(case_id)),
            images=images_of(further.pop("0"), further),
            label=folder / label if label else None,
            source={name: value for name, value in entry.items() if name not in _OWN},
        )
