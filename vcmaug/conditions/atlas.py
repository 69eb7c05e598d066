"""A lesion atlas: the lesions of many subjects, each with its crop and its place.

`atlas_index` makes the index before any condition is built; the builder `lesions` reads its file.

Notes:
    A lesion is a part of all lesion voxels together, neighbours by corners too. Its crop keeps the
    classes (a core and an oedema of one lesion stay together). Places are world millimetres of the
    atlas, RAS+; two atlas subjects may lie on different grids of one space.
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from vcmaug.affine import spacing_of
from vcmaug.config import RecipePath, Settings
from vcmaug.data.reader import SubjectPattern
from vcmaug.data.text_table import read_rows
from vcmaug.files import atomic_path

__all__ = ["Atlas", "AtlasSettings", "Lesion"]

_TABLES = {".csv", ".tsv", ".txt"}

Size = Literal["any", "small", "medium", "large"]

_THIRDS = {"small": (0.0, 1 / 3), "medium": (1 / 3, 2 / 3), "large": (2 / 3, 1.0)}


class AtlasSettings(Settings):
    """Where the masks are and what their values mean."""

    source: RecipePath = Field(description="a folder of masks, or a table of them (.csv, .tsv)")
    pattern: str = Field("**/*.nii.gz", description="of the masks in a folder")
    subject: SubjectPattern = Field(
        r"([^/]+?)(?:_lesions?|_mask)?\.nii(?:\.gz)?$",
        description="regular expression whose first group is the subject",
    )
    values: dict[str, int] = Field(
        {"lesion": 1}, min_length=1, description="structure of the scheme -> value in the masks"
    )
    template: RecipePath | None = Field(
        None, description="image of a head without skull in the space of the atlas"
    )
    role: str = Field("train", description="rows of a table with another role are left out")
    smallest_mm3: float = Field(10.0, ge=0, description="smaller lesions are not indexed")

    @model_validator(mode="before")
    @classmethod
    def _no_old_key(cls, value: object) -> object:
        """Refuse the old name of `role`."""
        if isinstance(value, dict) and "fold" in value:
            raise PydanticCustomError("unknown_name", "fold: is called 'role' now")
        return value

    @property
    def is_table(self) -> bool:
        """Whether the source is named as a table."""
        return self.source.suffix.lower() in _TABLES

    def masks(self) -> list[Path]:
        """Return the masks of a folder, or the table and those that it names, there or not."""
        if self.source.is_dir():
            return sorted(self.source.glob(self.pattern))
        named = self.in_table([]) if self.is_table and self.source.is_file() else []
        return [self.source, *(path for path, _ in named)]

    def in_table(self, faults: list[str]) -> list[tuple[Path, str]]:
        """Return path and subject of every mask of the table that has the role asked for.

        Args:
            faults: Gets a sentence for everything that is wrong with the table.
        """
        needs = ("mask", "subject_id")
        rows = read_rows(self.source, needs=needs, knows=("role", "fold"), faults=faults)
        if any("fold" in row.cells for row in rows[:1]):
            faults.append(f"{self.source}: the column fold is called role now; rename it")
        found = []
        for row in rows:
            bare = [name for name in needs if not row.cells[name]]
            faults += [f"{row.place}: no {name}" for name in bare]
            if not bare and row.cells.get("role", "") in ("", self.role):
                found.append((self.source.parent / row.cells["mask"], row.cells["subject_id"]))
        return found


@dataclass(frozen=True)
class Lesion:
    """One lesion of one subject.

    Attributes:
        lesion_id: "<subject>/<number>".
        subject_id: Whose it is.
        centre_mm: World place of its centre of mass, RAS+ [3].
        volume_mm3: Of all its classes.
        crop: Number of the class from 1, 0 outside, uint8 [a, b, c], axes as RAS.
        affine: From voxels of the crop to world millimetres, 4x4.
    """

    lesion_id: str
    subject_id: str
    centre_mm: NDArray[np.float64]
    volume_mm3: float
    crop: NDArray[np.uint8]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size of the crop."""
        return spacing_of(self.affine)

    @property
    def extent_mm(self) -> NDArray[np.float64]:
        """The edges of its box [3], to a tenth of a millimetre."""
        edges: NDArray[np.float64] = (np.array(self.crop.shape) * self.spacing_mm).round(1)
        return edges


class _About(Settings):
    """What the file of an index holds beside its arrays."""

    ids: tuple[str, ...]
    subjects: tuple[str, ...]
    counts: dict[str, int]
    files: dict[str, str]
    structures: tuple[str, ...]


@dataclass(frozen=True)
class Atlas:
    """All lesions of an atlas.

    Attributes:
        lesions: In order of subjects and of place.
        counts: Lesions of each subject.
        files: Mask of each subject.
        structures: Names of the classes, number 1 first.
        box_mm: Where the head lies, lower and upper corner [2, 3]; of the template, else of all
            lesions together.
    """

    lesions: tuple[Lesion, ...]
    counts: Mapping[str, int]
    files: Mapping[str, str]
    structures: tuple[str, ...]
    box_mm: NDArray[np.float64]

    def chosen(
        self, size: Size, side: Literal["any", "left", "right"], *, without: Collection[str] = ()
    ) -> list[Lesion]:
        """Return lesions of a third by volume, on a side, of other subjects than some.

        Args:
            size: The third.
            side: Of the body, seen from the middle of the head.
            without: Subjects.
        """
        low, high = 0.0, math.inf
        if size != "any":
            volumes = np.array([lesion.volume_mm3 for lesion in self.lesions])
            low, high = np.quantile(volumes, _THIRDS[size])
        middle = float(self.box_mm[:, 0].mean())
        return [
            lesion
            for lesion in self.lesions
            if low <= lesion.volume_mm3 <= high
            and lesion.subject_id not in without
            and (side == "any" or (lesion.centre_mm[0] > middle) == (side == "right"))
        ]

    def table(self) -> pd.DataFrame:
        """Return one row per lesion: subject, volume, extent and centre."""
        table = pd.DataFrame(
            {
                "lesion_id": [one.lesion_id for one in self.lesions],
                "subject_id": [one.subject_id for one in self.lesions],
                "volume_mm3": [one.volume_mm3 for one in self.lesions],
            }
        )
        table[["extent_x_mm", "extent_y_mm", "extent_z_mm"]] = self._of_each("extent_mm")
        table[["x_mm", "y_mm", "z_mm"]] = self._of_each("centre_mm").round(1)
        return table

    def _of_each(self, name: str) -> NDArray[np.float64]:
        """Return an attribute of every lesion as one array."""
        return np.stack([getattr(lesion, name) for lesion in self.lesions])

    def write(self, path: Path) -> None:
        """Write the index atomically."""
        about = _About(
            ids=tuple(one.lesion_id for one in self.lesions),
            subjects=tuple(one.subject_id for one in self.lesions),
            counts=dict(self.counts),
            files=dict(self.files),
            structures=self.structures,
        )
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                about=np.array(json.dumps(about.model_dump(mode="json"))),
                shapes=np.array([one.crop.shape for one in self.lesions], dtype=np.int32),
                crops=np.concatenate([one.crop.ravel() for one in self.lesions]),
                affines=self._of_each("affine"),
                centres=self._of_each("centre_mm"),
                volumes=np.array([one.volume_mm3 for one in self.lesions]),
                box_mm=self.box_mm,
            )

    @classmethod
    def read(cls, path: Path) -> "Atlas":
        """Return the index of a file."""
        with np.load(path, allow_pickle=False) as stored:
            about = _About.model_validate_json(str(stored["about"]))
            shapes, crops, box_mm = stored["shapes"], stored["crops"], stored["box_mm"]
            affines, centres, volumes = stored["affines"], stored["centres"], stored["volumes"]
        ends = np.cumsum(shapes.prod(axis=1))[:-1]
        crops = [
            crop.reshape(shape) for crop, shape in zip(np.split(crops, ends), shapes, strict=True)
        ]
        columns = about.ids, about.subjects, centres, volumes.tolist(), crops, affines
        lesions = tuple(Lesion(*values) for values in zip(*columns, strict=True))
        return cls(lesions, about.counts, about.files, about.structures, box_mm)
