"""BIDS: sub-*/[ses-*/]anat/*_T1w.nii.gz, with label maps *_dseg.nii.gz in derivatives.

References:
    The Brain Imaging Data Structure, and its derivatives for segmentations (dseg).
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcmaug.data.case import Case, Cell
from vcmaug.data.reader import Reader, by_case, images_of, rows_of

__all__ = ["BIDS"]

_ENTITIES = r"(.*/)?(?P<case>sub-[A-Za-z0-9]+(_ses-[A-Za-z0-9]+)?)[^/]*"  # e.g. sub-01_ses-02


class BIDS(Reader):
    """Images of one suffix, label maps of any derivative, and participants.tsv."""

    name: Literal["bids"] = "bids"
    image_suffix: str = Field("T1w", description="suffix of images")
    label_suffix: str = Field("dseg", description="suffix of label maps in derivatives")

    priority: ClassVar[int] = 2

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether there is a data set description, or a folder anat of a subject."""
        return path.is_dir() and (
            (path / "dataset_description.json").exists() or any(path.glob("sub-*/**/anat"))
        )

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return one case per subject and session.

        Args:
            path: Holds the folders sub-*.
            faults: Gets a sentence where an image or a label map is ambiguous, and for a subject
                that participants.tsv lacks.
        """
        images, labels = (
            by_case(path.glob(pattern), _ENTITIES, faults, root=path)
            for pattern in (
                f"sub-*/**/*_{self.image_suffix}.nii*",
                f"derivatives/**/sub-*_{self.label_suffix}.nii*",
            )
        )
        subjects = {entities: entities.split("_")[0] for entities in images}
        rows: dict[str, dict[str, Cell]] = {}
        for table in self.tables(path):
            rows |= rows_of(
                sorted(subjects.values()), table, "participant_id", faults, what="subject"
            )
        return [
            Case(
                case_id=entities,
                subject_id=subjects[entities],
                images=images_of(image),
                label=labels.get(entities),
                source=rows.get(subjects[entities], {}),
            )
            for entities, image in sorted(images.items())
        ]

    def tables(self, path: Path) -> list[Path]:
        """Return participants.tsv if it is there."""
        participants = path / "participants.tsv"
        return [participants] if participants.exists() else []

    @property
    def expected(self) -> str:
        """Images of the suffix."""
        return f"images sub-*/**/*_{self.image_suffix}.nii.gz"
