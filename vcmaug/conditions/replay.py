"""A condition's files, read where they were written and made again where they were not."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.conditions.build import files_of
from vcmaug.conditions.spec import workshop_in
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.data.nifti import image_in
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_bytes

__all__ = ["channel_arrays", "map_bytes", "replay"]


def _made(folder: Path, row: ConditionRow) -> dict[str, bytes]:
    """Return the files of a condition, made again."""
    return files_of(workshop_in(folder).make(row.index).condition)


def map_bytes(folder: Path, row: ConditionRow) -> bytes:
    """Return the file of a condition's label map; in a lazy folder it is made again.

    Args:
        folder: Of the conditions.
        row: Of the condition, from its table.

    Raises:
        DataError: The file is missing or changed, or the map comes out otherwise than before.
    """
    path = folder / row.map
    if path.exists():
        content, found = path.read_bytes(), "a file with another hash than its table says"
    elif path.parent.exists():
        content, found = b"", "no such file"
    else:
        content = _made(folder, row)[row.map]
        found = "made again, it differs from what its table says"
    if sha256_of_bytes(content) != row.sha256:
        raise DataError(f"{path}: {found}. Run `vcmaug build-conditions` again.")
    return content


def channel_arrays(folder: Path, row: ConditionRow) -> dict[str, NDArray[np.float32]]:
    """Return a condition's other channels by name; in a lazy folder they are made again.

    Args:
        folder: Of the conditions.
        row: Of the condition, from its table.

    Raises:
        DataError: A file is missing or changed, or comes out otherwise than before.
    """
    result, made = {}, None
    for place, sha256 in row.channels.items():
        name = f"{place}/{row.condition_id}.nii.gz"
        path = folder / name
        if path.exists():
            content = path.read_bytes()
        else:
            made = made or _made(folder, row)
            content = made.get(name, b"")
        if sha256_of_bytes(content) != sha256:
            raise DataError(f"{path}: not the file of its table. Run `vcmaug build-conditions`.")
        result[place.removeprefix("channels-")] = image_in(content)
    return result


def replay(folder: Path, condition_id: str) -> list[str]:
    """Make one condition again and return how its files differ from its table; none: the same.

    Raises:
        WorkFolderError: There is no table.
        DataError: There is no such condition.
    """
    table = read_conditions(folder)
    row = next((row for row in table if row.condition_id == condition_id), None)
    if row is None:
        raise DataError(
            f"replaying {condition_id}: {folder} holds {len(table)} conditions, c000000 to "
            f"{table[-1].condition_id}."
        )
    expected = {row.map: row.sha256}
    for channel, sha256 in row.channels.items():
        expected[f"{channel}/{condition_id}.nii.gz"] = sha256
    made = {name: sha256_of_bytes(content) for name, content in _made(folder, row).items()}
    return [
        f"{name}: {made.get(name, 'nothing')[:12]} now, {expected.get(name, 'nothing')[:12]} then"
        for name in sorted({*made, *expected})
        if made.get(name) != expected.get(name)
    ]
