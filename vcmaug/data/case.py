"""A case: one subject's images with their label map, and where they came from.

Readers make cases of files in somebody's layout, `prepare` makes prepared cases of them, and all
rooms above work on those.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from vcmaug.data.way_back import WayBack
from vcmaug.doors import Shown
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file

__all__ = ["IMAGE", "LABEL", "Case", "Cell", "Measured", "files_of", "is_measured_column"]

IMAGE = "image"
"""Name of the image that networks read, the first of a case."""
LABEL = "label"
"""Name of the label map among the files of a case."""


Cell = str | int | float | None
"""Of a column that the user's own table or a measurement has; None where it is empty."""


def is_measured_column(name: str) -> bool:
    """Return whether a column of a table of cases holds what was measured on label maps.

    Examples:
        >>> is_measured_column("volume_ventricles_mm3"), is_measured_column("age")
        (True, False)
    """
    return re.fullmatch(r"volume_.+_mm3|label_share_outside_grid", name) is not None


@dataclass(frozen=True)
class Measured:
    """What was measured on a label map.

    Attributes:
        volumes_mm3: Of each structure, in mm3.
        share_outside_grid: Share of labelled voxels that the crop to the grid left out.
    """

    volumes_mm3: Mapping[str, float]
    share_outside_grid: float = 0.0

    @property
    def columns(self) -> dict[str, float]:
        """The facts as columns of a table, as scalars read them."""
        volumes = {f"volume_{name}_mm3": volume for name, volume in self.volumes_mm3.items()}
        return volumes | {"label_share_outside_grid": self.share_outside_grid}


@dataclass(frozen=True)
class Case(Shown):
    """One case.

    Attributes:
        case_id: Unique in its set.
        subject_id: The person; several cases may share it.
        images: Paths of its images by name; `image`, which networks read, is the first.
        label: Path of the label map, or None.
        source: What the user's own table says of the case, by column.
        measured: What was measured on its label map; None for a label map that nobody measured.
        sha256: Hashes of its files by name of the image or `label`, as far as they are known.
        way_back: To its native grid and grey values; None before it is prepared.
    """

    case_id: str
    subject_id: str
    images: Mapping[str, Path]
    label: Path | None = None
    source: Mapping[str, Cell] = field(default_factory=dict)
    measured: Measured | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    way_back: WayBack | None = None

    @property
    def image(self) -> Path:
        """The image that networks read."""
        return self.images[IMAGE]

    @property
    def extra_images(self) -> dict[str, Path]:
        """The images after the first, by name."""
        return {name: path for name, path in self.images.items() if name != IMAGE}

    @property
    def files(self) -> dict[str, Path]:
        """Every file of the case by name: its images, and its label map if there is one."""
        return {**self.images, **({} if self.label is None else {LABEL: self.label})}

    @property
    def columns(self) -> dict[str, Cell]:
        """Source columns and measured facts together, as scalars and conditions read them."""
        return {**self.source, **(self.measured.columns if self.measured else {})}

    def hash_of(self, name: str) -> str:
        """Return the SHA-256 of one of the case's files; it is read only if its hash is not known.

        Args:
            name: Of an image, or `label`.
        """
        known = self.sha256.get(name)
        return sha256_of_file(self.files[name]) if known is None else known

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file of the case by name."""
        return {name: self.hash_of(name) for name in self.files}

    def with_pseudo_label(self, label: Path, *, sha256: str) -> "Case":
        """Return the case with a label map that a network drew.

        What was measured on the true label map stays behind.

        Args:
            label: Path of the network's label map.
            sha256: Of that file.
        """
        hashes = {**self.sha256, LABEL: sha256}
        return replace(self, label=label, measured=None, sha256=hashes)

    def back(self) -> WayBack:
        """Return the way back to the case's native grid and grey values.

        Raises:
            DataError: It has none: it is not a prepared case.
        """
        if self.way_back is None:
            raise DataError(
                f"case {self.case_id}: its native grid is not known. Prepare it with `vcmaug "
                "prepare`."
            )
        return self.way_back


def files_of(cases: Iterable[Case]) -> list[Path]:
    """Return every file of some cases."""
    return [path for case in cases for path in case.files.values()]
