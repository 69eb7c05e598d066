"""Label values: which value of somebody's label maps means which structure, as a file says it.

References:
    FreeSurfer's colour tables, such as FreeSurferColorLUT.txt: value, name, R, G, B, A.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from vcmaug.data.text_table import TextRow, read_rows, read_text
from vcmaug.errors import FaultyDataSet

__all__ = ["BACKGROUND", "fault_of_value", "read_label_values"]

BACKGROUND = ("", "background")
"""What stands for no structure."""

_COLOUR = re.compile(r"(?P<value>\d+)\s+(?P<structure>\S+)(?:\s+\d+){3,4}")
_LARGEST = 65535  # of a label map, which is uint16


def read_label_values(path: Path, structures: Collection[str]) -> dict[int, str]:
    """Return source value -> structure, or one of `BACKGROUND`.

    Args:
        path: A table with the columns value and structure, or a FreeSurfer colour table, of which
            the lines of other structures are left out.
        structures: Those of the scheme.

    Raises:
        FaultyDataSet: The file cannot be read, or a line cannot be used; all at once.
    """
    faults: list[str] = []
    values: dict[int, str] = {}
    for row in _rows(path, structures, faults):
        cell, structure = row.cells["value"], row.cells["structure"]
        if structure not in (*structures, *BACKGROUND):
            known = ", ".join(structures)
            faults.append(
                f"{row.place}: structure {structure!r} is not in the scheme ({known}), expected "
                "one of these or nothing"
            )
        value = int(float(cell)) if re.fullmatch(r"\d{1,9}(\.0*)?", cell) else -1
        if fault := fault_of_value(value, structure, said=cell):
            faults.append(f"{row.place}: {fault}")
        elif value in values:
            faults.append(f"{row.place}: value {value} stands twice, expected once")
        values[value] = structure
    if not values and not faults:
        faults.append(f"{path}: no line names a structure of the scheme ({', '.join(structures)})")
    if faults:
        raise FaultyDataSet("reading label values", faults, advice="Correct the file.")
    return values


def fault_of_value(value: int, structure: str, *, said: object) -> str:
    """Return what is wrong with a source value that means a structure, or nothing.

    Args:
        value: Of a label map.
        structure: Its name, or one of `BACKGROUND`.
        said: The value as it was written.
    """
    if not 0 <= value <= _LARGEST:
        return f"value {said!r}, expected a whole number from 0 to {_LARGEST}"
    return "" if value or structure in BACKGROUND else "value 0 is the background and no structure"


def _rows(path: Path, structures: Collection[str], faults: list[str]) -> Iterable[TextRow]:
    """Return the lines of a table, or those of a colour table that name a structure."""
    if not path.is_file():
        faults.append(f"{path}: there is no such file")
        return []
    lines = enumerate(read_text(path).splitlines(), start=1)
    said = [(number, line.strip()) for number, line in lines if not line.lstrip().startswith("#")]
    colours = [(number, _COLOUR.fullmatch(line)) for number, line in said if line]
    if not any(match for _, match in colours):
        return read_rows(path, needs=("value", "structure"), faults=faults)
    faults += [
        f"{path}, line {number}: expected value, name and colour, as in the other lines"
        for number, match in colours
        if match is None
    ]
    found = [TextRow(f"{path}, line {k}", match.groupdict()) for k, match in colours if match]
    return [row for row in found if row.cells["structure"] in structures]
