"""BIDS: sub-*/[ses-*/]anat/*_T1w.nii.gz, label maps *_dseg.nii.gz in derivatives.

What it is: images of one suffix, label maps from any derivative, participants.tsv.
In the flow: one of the five readers.
Sources: the Brain Imaging Data Structure, and its derivatives for segmentations (dseg).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vcmaug.data.readers.raw import RawCase, SourceSettings, rows_by_key

__all__ = ["read"]


def read(root: Path, settings: SourceSettings, faults: list[str]) -> list[RawCase]:
    """Return the cases of a BIDS data set: one per subject and session.

    Args:
        root: Holds the folders sub-*.
        settings: The suffixes of images and of label maps.
        faults: Gets a sentence where an image or a label map is ambiguous.
    """
    images = _by_entities(root.glob(f"sub-*/**/*_{settings.image_suffix}.nii*"), faults)
    labels = _by_entities(root.glob(f"derivatives/**/sub-*_{settings.label_suffix}.nii*"), faults)
    participants = root / "participants.tsv"
    rows = rows_by_key(participants, "participant_id", faults) if participants.exists() else {}
    return [
        RawCase(
            case_id=entities,
            subject_id=entities.split("_")[0],
            image=path,
            label=labels.get(entities),
            row=rows.get(entities.split("_")[0], {}),
        )
        for entities, path in sorted(images.items())
    ]


def _by_entities(paths: Iterable[Path], faults: list[str]) -> dict[str, Path]:
    """Return files by subject and session, e.g. sub-01_ses-02."""
    found: dict[str, Path] = {}
    for path in sorted(paths):
        match = re.match(r"(sub-[A-Za-z0-9]+)(_ses-[A-Za-z0-9]+)?", path.name)
        if match is None:
            continue
        entities = match.group(1) + (match.group(2) or "")
        if entities in found:
            faults.append(f"case {entities}, {path}: a second file beside {found[entities].name}")
        found.setdefault(entities, path)
    return found
