"""MONAI datalist JSON: {"training": [{"image": ..., "label": ...}, ...]}.

References:
    MONAI's `load_decathlon_datalist`, which its Decathlon tools and Auto3DSeg read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ValidationError

from vcmaug.data.case import Case
from vcmaug.data.reader import Entry, SubjectReader, stem_of, worded
from vcmaug.data.subjects import unnamed_subjects
from vcmaug.files import read_json

__all__ = ["Datalist"]


class _Content(BaseModel):
    """What is read of the file."""

    training: list[Mapping[str, object]] = []
    validation: list[Mapping[str, object]] = []


def _listed(value: object) -> object:
    """Return one image as a list of one, and none as an empty list."""
    return [value] if isinstance(value, str) else value or []


class _Images(BaseModel):
    """The images of an entry."""

    image: Annotated[list[str], BeforeValidator(_listed)] = []


class Datalist(SubjectReader):
    """The training and validation cases of a datalist, in its order."""

    name: Literal["datalist"] = "datalist"

    priority: ClassVar[int] = 2

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a JSON file."""
        return path.is_file() and path.suffix.lower() == ".json"

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases of a datalist; other images of a list are called 1, 2, and so on.

        Args:
            path: The JSON file, a list of entries or a mapping with lists; relative paths start at
                its folder.
            faults: Gets a sentence for an entry that cannot be used.
        """
        content = read_json(path)
        try:
            lists = {"training": content} if isinstance(content, list) else content
            found = _Content.model_validate(lists)
        except ValidationError as fault:
            faults.append(f'{path}: {worded(fault)}; expected {{"training": [{{"image": ...}}]}}')
            return []
        cases, said = [], {}
        for number, row in enumerate((*found.training, *found.validation)):
            place = f"{path}, entry {number}"
            try:
                images = _Images.model_validate(row).image
                image, others = "".join(images[:1]), dict(enumerate(images[1:], start=1))
                columns = {k: v for k, v in row.items() if k != "fold"}
                entry = Entry.model_validate({**columns, "image": image})
            except ValidationError as fault:
                faults.append(f"{place}: {worded(fault)}; correct the entry or delete it")
                continue
            if not image:
                faults.append(f"{place}: no image, expected a path; add it or delete the entry")
                continue
            said[place] = entry.subject_id
            named = entry.model_copy(update={"case_id": entry.case_id or stem_of(image)})
            further = {str(k): other for k, other in others.items()}
            cases.append(self.listed(named, further, faults, folder=path.parent))
        faults += unnamed_subjects(said)
        return cases

    def tables(self, path: Path) -> list[Path]:
        """Return the datalist itself."""
        return [path]
