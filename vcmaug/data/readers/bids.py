"""BIDS: sub-*/[ses-*/]anat/*_T1w.nii.gz, with label maps *_dseg.nii.gz in derivatives.

References:
    The Brain Imaging Data Structure, and its derivatives for segmentations (dseg).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcmaug.data.case import Case, Cell
from vcmaug.data.reader import Reader, files_below, images_of
from vcmaug.data.subjects import rows_of

__all__ = ["BIDS"]

Entities = Mapping[str, str | int | None]
"""Such as `{run: 2, acq: null}`: files of the second run without an entity `acq`."""

_SESSION = r"(sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?)"


class BIDS(Reader):
    """Images of one suffix, label maps of any derivative, and participants.tsv."""

    name: Literal["bids"] = "bids"
    image_suffix: str = Field("T1w", description="suffix of images")
    label_suffix: str = Field("dseg", description="suffix of label maps in derivatives")
    image_entities: Entities = Field(
        {}, description="of the images, where a session has several, e.g. {run: 2, acq: null}"
    )
    label_entities: Entities = Field(
        {}, description="of the label maps, where a session has several, e.g. {space: MNI152}"
    )
    leave_out: tuple[str, ...] = Field((), description="subjects that are not read, e.g. sub-03")

    priority: ClassVar[int] = 2

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether there is a data set description, or a folder anat of a subject."""
        signs = ("dataset_description.json", "sub-*/anat", "sub-*/ses-*/anat")
        return path.is_dir() and any(any(path.glob(sign)) for sign in signs)

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return one case per subject and session.

        Args:
            path: Holds the folders sub-*; links are followed.
            faults: Gets a sentence for a subject without an image or whom participants.tsv lacks,
                for a session with several, and for a label map without an image.
        """
        folders = [one for one in sorted(path.glob("sub-*")) if one.is_dir()]
        images = self._by_session(folders, "image", faults)
        labels = self._by_session([path / "derivatives"], "label", faults)
        subjects = {session: session.split("_")[0] for session in images}
        faults += [
            f"subject {folder.name}, {folder}: no image, expected one named "
            f"*_{self.image_suffix}.nii.gz{_in_words(self.image_entities)}; add it, or leave the "
            f"subject out: format: {{name: bids, leave_out: [{folder.name}]}}"
            for folder in folders
            if folder.name not in subjects.values() and self._is_read(folder.name)
        ]
        faults += [
            f"case {session}, {labels[session]}: a label map without an image, expected one; add "
            "it or move the label map away"
            for session in sorted(set(labels) - set(images))
        ]
        rows: dict[str, dict[str, Cell]] = {}
        for table in self.tables(path):
            rows |= rows_of(
                sorted(subjects.values()), table, "participant_id", faults, what="subject"
            )
        return [
            Case(
                case_id=session,
                subject_id=subjects[session],
                images=images_of(image),
                label=labels.get(session),
                source=rows.get(subjects[session], {}),
            )
            for session, image in sorted(images.items())
        ]

    def _is_read(self, session: str) -> bool:
        """Return whether a subject or session is not left out."""
        left_out = {name.removeprefix("sub-") for name in self.leave_out}
        return session.split("_")[0].removeprefix("sub-") not in left_out

    def _by_session(
        self, folders: Iterable[Path], what: Literal["image", "label"], faults: list[str]
    ) -> dict[str, Path]:
        """Return the image or label map of each session, such as sub-01_ses-02.

        Args:
            folders: Where to look.
            what: To look for.
            faults: Gets a sentence for a session with several.
        """
        suffix, wanted = {
            "image": (self.image_suffix, self.image_entities),
            "label": (self.label_suffix, self.label_entities),
        }[what]
        name = re.compile(rf"{_SESSION}.*_{re.escape(suffix)}\.nii(\.gz)?")
        found = defaultdict[str, list[Path]](list)
        for path in (path for folder in folders for path in files_below(folder)):
            match = name.fullmatch(path.name)
            if match and self._is_read(match[1]) and _fits(path, wanted):
                found[match[1]].append(path)
        faults += [
            f"case {session}: found {len(paths)} {what}s, {' and '.join(map(str, paths))}, "
            f"expected one; {_advice(paths, what)}"
            for session, paths in found.items()
            if len(paths) > 1
        ]
        return {session: paths[0] for session, paths in found.items()}

    def tables(self, path: Path) -> list[Path]:
        """Return participants.tsv if it is there."""
        participants = path / "participants.tsv"
        return [participants] if participants.exists() else []

    @property
    def expected(self) -> str:
        """Images of the suffix."""
        return f"images sub-*/**/*_{self.image_suffix}.nii.gz"


def _entities_of(path: Path) -> dict[str, str]:
    """Return the entities in a file's name, numbers without leading zeros."""
    parts = [part.partition("-") for part in path.name.split(".")[0].split("_")]
    return {name: value.lstrip("0") for name, dash, value in parts if dash}


def _fits(path: Path, wanted: Entities) -> bool:
    """Return whether a file has the entities that are asked for."""
    own = _entities_of(path)
    asked = {k: None if v is None else str(v).lstrip("0") for k, v in wanted.items()}
    return all(own.get(name) == value for name, value in asked.items())


def _advice(paths: Sequence[Path], what: str) -> str:
    """Return how one of several files is chosen."""
    several = [_entities_of(path) for path in paths]
    for name in dict.fromkeys(name for one in several for name in one):
        values = [one.get(name) for one in several]
        if len(set(values)) > 1:
            chosen = f"{{{name}: {next(filter(None, values), 'null')}}}"
            return f"choose one, such as format: {{name: bids, {what}_entities: {chosen}}}"
    return "move all but one away"


def _in_words(wanted: Entities) -> str:
    """Return the entities that are asked for, as a phrase."""
    return f" with {', '.join(f'{k}: {v}' for k, v in wanted.items())}" if wanted else ""
