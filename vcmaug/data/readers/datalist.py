"""MONAI datalist JSON: {"training": [{"image": ..., "label": ...}, ...]}.

What it is: the list that MONAI's Decathlon tools and Auto3DSeg read.
In the flow: one of the five readers.
Sources: MONAI's `load_decathlon_datalist`.
"""

from pathlib import Path
from typing import Any

from vcmaug.data.readers.raw import RawCase, SourceSettings
from vcmaug.files import read_json

__all__ = ["read"]

_OWN = {"image", "label", "case_id", "subject_id", "fold"}


def read(path: Path, settings: SourceSettings, faults: list[str]) -> list[RawCase]:
    """Return the training (and validation) cases of a datalist, in its order.

    Args:
        path: The JSON file; relative paths start at its folder.
        settings: The subject pattern.
        faults: Gets a sentence for an entry without an image.
    """
    content = read_json(path)
    entries = [*content.get("training", []), *content.get("validation", [])]
    cases = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not entry.get("image"):
            faults.append(f"{path}, entry {number}: no image")
            continue
        cases.append(_case(entry, path.parent, settings))
    return cases


def _case(entry: dict[str, Any], folder: Path, settings: SourceSettings) -> RawCase:
    """Return one entry as a raw case; a list of images gives the first and extras."""
    images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
    case_id = str(entry.get("case_id") or _stem(images[0]))
    label = entry.get("label")
    return RawCase(
        case_id=case_id,
        subject_id=str(entry.get("subject_id") or settings.subject_of(case_id)),
        image=folder / images[0],
        label=folder / label if label else None,
        extra_images={f"{k}": folder / image for k, image in enumerate(images[1:], start=1)},
        row={name: value for name, value in entry.items() if name not in _OWN},
    )


def _stem(name: str) -> str:
    """Return a file name without folders and without .nii or .nii.gz."""
    return Path(name).name.removesuffix(".gz").removesuffix(".nii")
