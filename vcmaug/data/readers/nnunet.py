"""nnU-Net raw: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json.

References:
    nnU-Net's documentation of its dataset format, version 2; version 1 as far as it is the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from vcmaug.data.case import Case
from vcmaug.data.reader import SubjectReader, images_of
from vcmaug.files import read_json

__all__ = ["NNUNet"]


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
            faults: Gets a sentence for a label map without an image and a count that differs.
        """
        about = read_json(path / "dataset.json")
        ending = about.get("file_ending", ".nii.gz")
        images = _by_case(path / "imagesTr", f"_0000{ending}")
        labels = _by_case(path / "labelsTr", ending)
        faults += [
            f"case {case_id}, {labels[case_id]}: a label map without an image"
            for case_id in sorted(set(labels) - set(images))
        ]
        expected = about.get("numTraining")
        if expected is not None and int(expected) != len(images):
            faults.append(
                f"{path / 'dataset.json'}: numTraining {expected}, found {len(images)} images"
            )
        return [
            Case(
                case_id=case_id,
                subject_id=self.subject_of(case_id),
                images=images_of(image, _further(image, case_id, about, ending)),
                label=labels.get(case_id),
            )
            for case_id, image in images.items()
        ]

    def tables(self, path: Path) -> list[Path]:
        """Return dataset.json."""
        return [path / "dataset.json"]

    @property
    def expected(self) -> str:
        """Images of the first channel."""
        return "images imagesTr/*_0000.nii.gz"


def _by_case(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files of a folder with an ending, by what stands before it."""
    return {
        path.name.removesuffix(ending): path
        for path in sorted(folder.glob(f"*{ending}"))
        if not path.name.startswith(".")
    }


def _further(image: Path, case_id: str, about: Mapping[str, Any], ending: str) -> dict[str, Path]:
    """Return the channels after the first, by name."""
    channels = about.get("channel_names", about.get("modality", {"0": "image"}))
    return {
        str(name): image.with_name(f"{case_id}_{int(number):04d}{ending}")
        for number, name in channels.items()
        if int(number) > 0
    }
