"""What to prepare: where the cases are, what their labels mean, and the grid to bring them to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from vcmaug.config import RecipePath, Settings
from vcmaug.data.geometry import Grid
from vcmaug.data.intensity import IntensitySettings
from vcmaug.data.label_values import BACKGROUND, fault_of_value, read_label_values
from vcmaug.data.labels import LabelScheme
from vcmaug.data.reader import Reader
from vcmaug.data.readers.auto import Auto
from vcmaug.errors import DataError, list_faults

__all__ = ["DataSettings"]


class DataSettings(Settings):
    """What to read, what its labels mean, and the grid to bring it to."""

    source: str = Field(description="folder, table, nnU-Net or BIDS root, or MONAI datalist")
    format: Reader = Field(Auto(), description="the reader: its name, or its settings")
    scheme: dict[str, int] = Field(description="structures: name -> value in your label maps")
    label_values: dict[int, str] = Field(
        {}, description="source value -> structure, '' for background; empty: as in the scheme"
    )
    label_values_file: RecipePath | None = Field(
        None,
        description="table with columns value and structure, or a FreeSurfer colour table, instead "
        "of label_values",
    )
    grid: Grid
    intensity: IntensitySettings = IntensitySettings()
    require_labels: bool = True
    max_cases: int | None = Field(None, ge=1, description="the first so many, for a quick try")

    @model_validator(mode="before")
    @classmethod
    def _settings_of_readers_stand_in_format(cls, value: Any) -> Any:
        """Refuse settings of a reader beside `format`, where they stood before."""
        content = value if isinstance(value, Mapping) else {}
        readers = Reader.parts()
        old = {
            key: reader
            for reader in ("bids", "folder")
            for key in readers[reader].model_fields
            if key in content and key != "name"
        }
        if old:
            first, reader = next(iter(old.items()))
            raise PydanticCustomError(
                "part",
                "{names}: settings of a reader stand in format now, e.g. format: {example}",
                {
                    "names": ", ".join(old),
                    "example": f"{{name: {reader}, {first}: {content[first]}}}",
                },
            )
        return value

    @property
    def path(self) -> Path:
        """The source as a path."""
        return Path(self.source)

    @property
    def reader(self) -> Reader:
        """The reader of the source.

        Raises:
            DataError: The source is not there, or its layout is not recognised.
        """
        if not self.path.exists():
            raise DataError(f"preparing {self.path}: there is no such file or folder.")
        return self.format.chosen(self.path)

    def label_scheme(self) -> LabelScheme:
        """Return the scheme of prepared label maps, 1..K; images alone need no structure.

        Raises:
            DataError: There is no structure, or values are not positive and distinct.
        """
        if not self.scheme and not self.require_labels:
            return LabelScheme(())
        return LabelScheme.numbered(self.scheme)

    def number_of_value(self) -> dict[int, int]:
        """Return source value -> number in prepared label maps.

        Raises:
            DataError: A structure is named that the scheme does not have, or the file of values
                cannot be used.
        """
        named = dict(self.label_values)
        if self.label_values_file is not None:
            named = read_label_values(self.label_values_file, self.scheme)
        told = [fault_of_value(value, name, said=value) for value, name in named.items()]
        if faults := list(filter(None, told)):
            raise DataError(list_faults("reading label values", faults))
        named = named or {value: name for name, value in self.scheme.items()}
        numbers = {name: number for number, name in enumerate(self.scheme, start=1)}
        numbers |= dict.fromkeys(BACKGROUND, 0)
        unknown = sorted({name for name in named.values() if name not in numbers})
        if unknown:
            raise DataError(
                f"reading label values: {', '.join(unknown)} not in the scheme "
                f"({', '.join(self.scheme)})."
            )
        return {value: numbers[name] for value, name in named.items()}
