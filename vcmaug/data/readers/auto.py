"""The reader that recognises the layout of a source."""

from pathlib import Path
from typing import Literal

from vcmaug.data.case import Case
from vcmaug.data.reader import Reader
from vcmaug.errors import DataError

__all__ = ["Auto"]


class Auto(Reader):
    """Uses the first of all other readers that recognises the source, with its defaults."""

    name: Literal["auto"] = "auto"

    def chosen(self, path: Path) -> Reader:
        """Return the reader of the highest priority that recognises a source.

        Raises:
            DataError: No reader does.
        """
        parts = Reader.parts()
        for part in sorted(parts.values(), key=lambda part: -part.priority):
            if part.recognises(path):
                return part.model_validate({})
        raise DataError(
            f"reading {path}: its layout is not recognised. Name its format: {', '.join(parts)}."
        )

    def cases(self, path: Path, faults: list[str]) -> list[Case]:
        """Return the cases that the chosen reader finds."""
        return self.chosen(path).cases(path, faults)

    def tables(self, path: Path) -> list[Path]:
        """Return the tables that the chosen reader reads."""
        return self.chosen(path).tables(path)
