"""The conditions of a folder, as a sequence; each is read when it is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import pandas as pd

from vcmaug.conditions.chain import ScalarSettings
from vcmaug.conditions.spec import ConditionSpec
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.conditions.workshop import map_bytes, workshop_in
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import (
    image_in,
    label_map_in,
)
from vcmaug.data.scalars import ScalarSpec, asked_value
from vcmaug.data.volume import Volume
from vcmaug.doors import Shown
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_bytes

__all__ = ["Conditions", "StoredCondition"]


@dataclass(frozen=True, eq=False)
class StoredCondition(Shown):
    """A condition of a folder; an image can be drawn for it.

    Attributes:
        row: Of the table.
        folder: Of the conditions.
        scheme: Of the label map.
        scalars: What happens to a scalar beyond the range of a prior.
    """

    row: ConditionRow
    folder: Path
    scheme: LabelScheme = field(repr=False)
    scalars: ScalarSettings = field(repr=False)

    @property
    def condition_id(self) -> str:
        """Unique in its folder."""
        return self.row.condition_id

    @cached_property
    def label_file(self) -> bytes:
        """The file of the label map, byte by byte; it becomes the label of what is drawn."""
        return map_bytes(self.folder, self.row)

    @cached_property
    def label_map(self) -> Volume:
        """The label map to draw an image for."""
        return label_map_in(self.label_file)

    @cached_property
    def channels(self) -> Mapping[str, Volume]:
        """Other volumes on the map's grid, by name; in a lazy folder they are made again.

        Raises:
            DataError: A file is missing or changed, or comes out otherwise than before.
        """
        result: dict[str, Volume] = {}
        made: Mapping[str, bytes] = {}
        for place, sha256 in self.row.channels.items():
            name = f"{place}/{self.condition_id}.nii.gz"
            path = self.folder / name
            if not path.exists() and not made:
                made = workshop_in(self.folder).make(self.row.index).files
            content = path.read_bytes() if path.exists() else made.get(name, b"")
            if sha256_of_bytes(content) != sha256:
                raise DataError(
                    f"{path}: not the file of its table. Run `vcmaug build-conditions`."
                )
            result[place.removeprefix("channels-")] = Volume(
                image_in(content), self.label_map.affine
            )
        return result

    @property
    def presence(self) -> Mapping[str, bool]:
        """Which channels a control is shown; empty: the label map and all there are."""
        return self.row.presence

    def values_of(self, scalars: Sequence[ScalarSpec]) -> Mapping[str, float | None]:
        """Return the raw values of a prior's scalars by name; None is missing.

        Values are in the prior's range, also where conditions were built for no prior.

        Raises:
            DataError: A scalar is out of range, and such are refused.
        """
        columns = self.row.columns
        unscaled = [spec for spec in scalars if f"scalar_{spec.name}" not in columns]
        scaled, beyond = self.scalars.in_range(columns, unscaled, name=self.condition_id)
        return {
            spec.name: asked_value(spec, scaled if spec.name in beyond else columns)
            for spec in scalars
        }


class Conditions(Sequence[StoredCondition], Shown):
    """The conditions of a folder.

    Args:
        folder: As `build_conditions` left it.

    Raises:
        WorkFolderError: It is not finished, or an older version made it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = read_conditions(folder)
        self.spec = ConditionSpec.read(folder)

    @property
    def scheme(self) -> LabelScheme:
        """Of the label maps."""
        return self.spec.scheme

    @property
    def table(self) -> pd.DataFrame:
        """One row per condition; steps and parents are nested."""
        return pd.DataFrame([row.cells() for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<{len(self)} conditions in {self.folder}>"

    @overload
    def __getitem__(self, place: int) -> StoredCondition: ...

    @overload
    def __getitem__(self, place: slice) -> list[StoredCondition]: ...

    def __getitem__(self, place: int | slice) -> StoredCondition | list[StoredCondition]:
        """Return a condition, or some of them."""
        if isinstance(place, slice):
            return [self._stored(row) for row in self.rows[place]]
        return self._stored(self.rows[place])

    def _stored(self, row: ConditionRow) -> StoredCondition:
        """Return the condition of a row."""
        scalars = self.spec.identity.settings.scalars
        return StoredCondition(row, self.folder, self.scheme, scalars)
