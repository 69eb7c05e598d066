"""Tables as people and their programs write them, read as text: CSV, TSV, and text files like them.

Readers, label values and lesion atlases take their rows from here. Encoding and separator are found
out, every cell is text, and every fault is named with its file and line.
"""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from vcmaug.data.case import Cell
from vcmaug.errors import DataError

__all__ = ["TextRow", "is_missing", "read_rows", "read_text", "text_of", "typed"]

_SEPARATORS = (",", ";", "\t", "|")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NONE = {"", "nan", "n/a", "na", "<na>", "none", "null"}
_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[+-]?(?!0\d)(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class TextRow:
    """A row of a table.

    Attributes:
        place: Its file and line, for messages.
        cells: Text by column, without blanks around it; columns without a name are left out.
    """

    place: str
    cells: Mapping[str, str]


def read_rows(
    path: Path, *, needs: Sequence[str], knows: Sequence[str] = (), faults: list[str]
) -> list[TextRow]:
    """Return the rows of a table that are not blank; none where the table cannot be read.

    Args:
        path: Of the table.
        needs: Columns that it must have; capitals do not count.
        knows: Columns that it may have; capitals do not count. Others come along as they are.
        faults: Gets a sentence for everything that is wrong with the table or a row.
    """
    try:
        lines = _lines(path, read_text(path), needs)
        _, header = next(lines, (0, []))
        names = _names(path, header, needs=needs, knows=knows)
        rows = []
        for line, cells in lines:
            place, beyond = f"{path}, line {line}", cells[len(names) :]
            if len(cells) < len(names) or any(beyond):
                faults.append(
                    f"{place}: {len(cells)} cells, expected {len(names)}; look for a separator in "
                    "a cell, which must be quoted then, or for one that is missing"
                )
                continue
            found = zip(names, cells, strict=False)
            rows.append(TextRow(place, {name: cell for name, cell in found if name}))
    except DataError as fault:
        faults.append(str(fault))
        return []
    return rows


def read_text(path: Path) -> str:
    """Return the text of a file: UTF-8 or UTF-16, else that of Windows in Western Europe.

    Raises:
        DataError: The file cannot be read, or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise DataError(f"{path}: {fault.strerror or fault}") from None
    marked = [name for mark, name in _MARKS.items() if content.startswith(mark)][:1]
    if not marked and 0 in content[:2]:
        marked = ["utf-16-le" if content[:1] != b"\0" else "utf-16-be"]
    found = ""
    for encoding in (*marked, "utf-8", "cp1252", "latin-1"):
        with suppress(UnicodeDecodeError):
            found = content.decode(encoding)
            break
    if "\0" in found or content.startswith((b"PK", b"\x1f\x8b")):
        raise DataError(
            f"{path}: not a text file, expected a table; export a spreadsheet as CSV, and unpack "
            "archives"
        )
    return found


def _lines(path: Path, text: str, needs: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line of a table that is not blank, the header first."""
    hint = re.match(r"sep=(.)(?:\r\n|\r|\n)", text)  # as Excel writes it
    separator = hint.group(1) if hint else _separator(path, text, needs)
    table = csv.reader(
        StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    before = 0
    try:
        for cells in table:
            line, before = before + 1, table.line_num
            stripped = [cell.strip().strip("\ufeff") for cell in cells]
            if any(stripped) and not (hint and line == 1):
                yield line, stripped
    except csv.Error as fault:
        raise DataError(
            f"{path}, line {before + 1}: {fault}, expected a quoted cell to end where a cell does; "
            "close the quote"
        ) from None


def _separator(path: Path, text: str, needs: Sequence[str]) -> str:
    """Return what separates the header into the columns that are needed, or else into most."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    first = "\t" if path.suffix.lower() == ".tsv" else ","

    def fits(separator: str) -> tuple[bool, int, bool]:
        names = [name.strip(' "').lower() for name in header.split(separator)]
        return {name.lower() for name in needs} <= {*names}, len(names), separator == first

    return max(_SEPARATORS, key=fits)


def _names(
    path: Path, header: Sequence[str], *, needs: Sequence[str], knows: Sequence[str]
) -> list[str]:
    """Return the names of columns, known ones as they are called here.

    Raises:
        DataError: The table is empty, or lacks a column or has it twice.
    """
    if not header:
        raise DataError(
            f"{path}: the file is empty, expected a line with {', '.join(needs)}; write it"
        )
    known = {name.lower(): name for name in (*needs, *knows)}
    names = [known.get(name.lower(), name) for name in header]
    faults = [f"no column {name!r}" for name in needs if name not in names]
    faults += [f"column {k!r} stands {n} times" for k, n in Counter(names).items() if k and n > 1]
    if faults:
        found = ", ".join(map(repr, header))
        raise DataError(
            f"{path}: {', '.join(faults)}; found {found}, expected names in the first line, "
            "separated by comma, semicolon or tab; rename or add the columns"
        )
    return names


def text_of(cell: object) -> str:
    """Return a cell as text, empty if it is missing."""
    return "" if cell is None or cell != cell else str(cell).strip()  # NaN is not itself


def is_missing(cell: object) -> bool:
    """Return whether a cell of a column of numbers says that there is none."""
    return text_of(cell).lower() in _NONE


def typed(column: Iterable[object]) -> list[Cell]:
    """Return a column with one type: whole numbers, numbers, or text; an empty cell is None.

    What says that a number is missing is None in a column of numbers, and stays as it is in one of
    text. A number with leading zeros is text.

    Examples:
        >>> typed(["1", "NA", "3"]), typed(["007", "1"]), typed(["EU", "NA", ""])
        ([1, None, 3], ['007', '1'], ['EU', 'NA', None])
    """
    cells = [text_of(cell) for cell in column]
    numbers = [cell for cell in cells if not is_missing(cell)]
    for form, number in ((_WHOLE, int), (_NUMBER, float)):
        if numbers and all(form.fullmatch(cell) for cell in numbers):
            return [None if is_missing(cell) else number(cell) for cell in cells]
    return [None if cell in ("", "n/a") else cell for cell in cells]
