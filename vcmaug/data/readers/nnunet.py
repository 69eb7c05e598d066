"""nnU-Net raw: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json.

What it is: the layout of nnU-Net v2, and of v1 as far as it is the same.
In the flow: one of the five readers.
Sources: nnU-Net's documentation of its dataset format.
"""

from pathlib import Path

from vcmaug.data.readers.raw import RawCase, SourceSettings
from vcmaug.files import read_json

__all__ = ["read"]


def read(root: Path, settings: SourceSettings, faults: list[str]) -> list[RawCase]:
    """Return the training cases of an nnU-Net data set, in order of their ids.

    Channel 0000 is the image; further channels come along under their names in dataset.json.

    Args:
        root: Holds dataset.json, imagesTr and labelsTr.
        settings: The subject pattern.
        faults: Gets a sentence for a label map without an image and a count that differs.
    """
    about = read_json(root / "dataset.json")
    ending = about.get("file_ending", ".nii.gz")
    channels = about.get("channel_names", about.get("modality", {"0": "image"}))
    images = {
        path.name.removesuffix(f"_0000{ending}"): path
        for path in sorted((root / "imagesTr").glob(f"*_0000{ending}"))
    }
    labels = {
        path.name.removesuffix(ending): path
        for path in sorted((root / "labelsTr").glob(f"*{ending}"))
        if not path.name.startswith(".")
    }
    faults += [
        f"case {case_id}, {labels[case_id]}: a label map without an image"
        for case_id in sorted(set(labels) - set(images))
    ]
    expected = about.get("numTraining")
    if expected is not None and int(expected) != len(images):
        faults.append(
            f"{root / 'dataset.json'}: numTraining {expected}, found {len(images)} images"
        )
    return [
        RawCase(
            case_id=case_id,
            subject_id=settings.subject_of(case_id),
            image=path,
            label=labels.get(case_id),
            extra_images=_further(path, case_id, channels, ending),
        )
        for case_id, path in images.items()
    ]


def _further(image: Path, case_id: str, channels: dict[str, str], ending: str) -> dict[str, Path]:
    """Return the channels after the first, by name."""
    return {
        str(name): image.with_name(f"{case_id}_{int(number):04d}{ending}")
        for number, name in channels.items()
        if int(number) > 0
    }
