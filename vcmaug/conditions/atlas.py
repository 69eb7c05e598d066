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
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.files import write_bytes

__all__ = ["Atlas", "Lesion", "extent_mm"]

Size = Literal["any", "small", "medium", "large"]

_THIRDS = {"small": (0.0, 1 / 3), "medium": (1 / 3, 2 / 3), "large": (2 / 3, 1.0)}


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
        rows = [
            {
                "lesion_id": one.lesion_id,
                "subject_id": one.subject_id,
                "volume_mm3": one.volume_mm3,
                **dict(
                    zip(("extent_x_mm", "extent_y_mm", "extent_z_mm"), extent_mm(one), strict=True)
                ),
                **dict(zip(("x_mm", "y_mm", "z_mm"), one.centre_mm.round(1), strict=True)),
            }
            for one in self.lesions
        ]
        return pd.DataFrame(rows)

    def write(self, path: Path) -> None:
        """Write the index atomically."""
        shapes = np.array([one.crop.shape for one in self.lesions], dtype=np.int32)
        about = {
            "ids": [one.lesion_id for one in self.lesions],
            "subjects": [one.subject_id for one in self.lesions],
            "counts": dict(self.counts),
            "files": dict(self.files),
            "structures": list(self.structures),
        }
        stream = BytesIO()
        np.savez_compressed(
            stream,
            about=np.array(json.dumps(about)),
            shapes=shapes,
            crops=np.concatenate([one.crop.ravel() for one in self.lesions]),
            affines=np.stack([one.affine for one in self.lesions]),
            centres=np.stack([one.centre_mm for one in self.lesions]),
            volumes=np.array([one.volume_mm3 for one in self.lesions]),
            box_mm=self.box_mm,
        )
        write_bytes(path, stream.getvalue())

    @classmethod
    def read(cls, path: Path) -> "Atlas":
        """Return the index of a file."""
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            content = {name: stored[name] for name in stored.files if name != "about"}
        ends = np.cumsum(content["shapes"].prod(axis=1))
        lesions = tuple(
            Lesion(
                lesion_id=about["ids"][k],
                subject_id=about["subjects"][k],
                centre_mm=content["centres"][k],
                volume_mm3=float(content["volumes"][k]),
                crop=content["crops"][end - shape.prod() : end].reshape(shape),
                affine=content["affines"][k],
            )
            for k, (shape, end) in enumerate(zip(content["shapes"], ends, strict=True))
        )
        return cls(
            lesions, about["counts"], about["files"], tuple(about["structures"]), content["box_mm"]
        )


def extent_mm(lesion: Lesion) -> tuple[float, float, float]:
    """Return the edges of a lesion's box in mm."""
    spacing = np.sqrt((lesion.affine[:3, :3] ** 2).sum(axis=0))
    first, second, third = (np.array(lesion.crop.shape) * spacing).round(1).tolist()
    return first, second, third
