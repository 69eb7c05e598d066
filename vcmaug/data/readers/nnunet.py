"""nnU-Net raw: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json.

References:
    nnU-Net's documentation of its dataset format, version 2; version 1 as far as it is the same.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from vcmaug.data.case import IMAGE, Case
from vcmaug.data.reader import SubjectReader, worded
from vcmaug.data.readers.folder import files_like
from vcmaug.files import read_json

__all__ = ["NNUNet"]


class _Dataset(BaseModel):
    """What is read of dataset.json, in the names of nnU-Net; version 1 says modality."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    file_ending: str = ".nii.gz"
    numTraining: int | None = None  # noqa: N815
    channel_names: dict[int, str] = Field(
        {0: "image"}, validation_alias=AliasChoices("channel_names", "modality")
    )

    @property
    def faults(self) -> list[str]:
        """What is wrong with the channels: no first one, or names by which one would be lost."""
        names = [IMAGE, *(name for number, name in self.channel_names.items() if number)]
        found = [] if 0 in self.channel_names else [f"channels {[*self.channel_names]}, expected 0"]
        return found + [
            f"{names.count(name)} channels called {name!r}, expected names that differ; rename them"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]


class NNUNet(SubjectReader):
    """The training cases of an nnU-Net data set, in order of their ids.

    Channel 0000 is the image; other channels come along under their names in dataset.json.
    """

    name: Literal["nnunet"] = "nnunet"

    priority: ClassVar[int] = 3

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether there are dataset.json and imagesTr."""
        return (path / "dataset.json").exists() and (path / "imagesTr").is_dir()

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the training cases.

        Args:
            path: Holds dataset.json, imagesTr and labelsTr.
            faults: Gets a sentence for a label map without an image, an image of a channel that is
                not named, and a count that differs.
        """
        try:
            about = _Dataset.model_validate(read_json(path / "dataset.json"))
        except ValidationError as fault:
            form = '"channel_names": {"0": "T1"}'
            faults.append(f"{path / 'dataset.json'}: {worded(fault)}; expected such as {form}")
            return []
        if about.faults:
            faults += [f"{path / 'dataset.json'}: {fault}" for fault in about.faults]
            return []
        ending = about.file_ending
        found = _by_channel(path / "imagesTr", ending)
        images = found.pop(0, {})
        faults += [
            f"case {case_id}, {image}: channel {number} is not among those of dataset.json, "
            f"{sorted(about.channel_names)}; name it there or move the file away"
            for number in found.keys() - about.channel_names.keys()
            for case_id, image in found[number].items()
        ]
        faults += [
            f"case {case_id}, {image}: no image of channel 0 is beside it"
            for some in found.values()
            for case_id, image in some.items()
            if case_id not in images
        ]
        labels = files_like(f"labelsTr/{{case}}{ending}", path, faults)
        if about.numTraining not in (None, len(images)):
            faults.append(
                f"{path / 'dataset.json'}: numTraining {about.numTraining}, found {len(images)} "
                "images"
            )
        channels = {
            case_id: {
                name if number else IMAGE: image.with_name(f"{case_id}_{number:04d}{ending}")
                for number, name in sorted(about.channel_names.items())
            }
            for case_id, image in images.items()
        }
        return self.paired(channels, labels, faults)

    def tables(self, path: Path) -> list[Path]:
        """Return dataset.json."""
        return [path / "dataset.json"]

    @property
    def expected(self) -> str:
        """Images of the first channel."""
        return "images imagesTr/*_0000.nii.gz"


def _by_channel(folder: Path, ending: str) -> dict[int, dict[str, Path]]:
    """Return the images CASE_0000 and so on of a folder by number and case; hidden ones are not."""
    found = defaultdict[int, dict[str, Path]](dict)
    for path in sorted(folder.glob("*")):
        if match := re.fullmatch(rf"([^.].*)_([0-9]{{4}}){re.escape(ending)}", path.name):
            found[int(match[2])][match[1]] = path
    return dict(found)
