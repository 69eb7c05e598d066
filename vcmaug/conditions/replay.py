"""Conditions made of a folder's spec, each by its index, and their files.

A file is read where it was written and made again where it was not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.conditions.base import Condition, SourceMap, as_it_is, recomputed, source_map
from vcmaug.conditions.spec import ConditionSpec
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.data.nifti import image_bytes, image_in, label_map_bytes
from vcmaug.errors import DataError, LeakError
from vcmaug.files import sha256_of_bytes, sha256_of_file
from vcmaug.seeding import stable_seed

__all__ = ["Made", "Workshop", "channel_arrays", "map_bytes", "replay", "workshop_in"]

_KEPT_MAPS = 8  # label maps of sources that a worker keeps in memory


@dataclass(frozen=True)
class Made:
    """A condition that was made.

    Attributes:
        row: Of the table.
        files: Label map and channels, by their place in the folder.
    """

    row: ConditionRow
    files: Mapping[str, bytes]


class Workshop:
    """Makes any condition of a folder, by its index; one per process.

    Args:
        folder: With spec.json and prepared/.
    """

    def __init__(self, folder: Path) -> None:
        self.spec = ConditionSpec.read(folder)
        self.scheme = self.spec.scheme
        cases = self.spec.identity.sources
        self.builders = [
            [step.ready(self.scheme, folder=folder, cases=cases) for step in chain.steps]
            for chain in self.spec.identity.settings.chains
        ]
        self._source = lru_cache(maxsize=_KEPT_MAPS)(self._read_source)

    def _read_source(self, number: int) -> SourceMap:
        """Return a source."""
        return source_map(self.spec.sources[number])

    def make(self, index: int) -> Made:
        """Return a condition.

        Raises:
            DataError: A builder gave up, or a scalar is out of range and refused.
            LeakError: Its parents have two roles.
        """
        about, condition_id = self.spec.identity, f"c{index:06d}"
        settings = about.settings
        chain, uses = settings.chain_of(index)
        turn, number = divmod(uses, len(self.spec.sources))
        seed = stable_seed(about.seed, condition_id, "condition")
        condition = as_it_is(
            self._source(number), condition_id=condition_id, turn=turn, inherit=settings.inherit
        )
        for place, builder in enumerate(self.builders[chain]):
            condition = builder.build(condition, seed=stable_seed(seed, place))
        row = settings.scalars.applied(
            recomputed(condition.row, condition.label_map, scheme=self.scheme),
            table=[case.columns for case in self.spec.sources],
            turn=turn,
            seed=seed,
        )
        columns, clipped = settings.scalars.in_range(row, about.scalars, name=condition_id)
        files = _files_of(condition)
        hashes = {name: sha256_of_bytes(content) for name, content in files.items()}
        label_map, *others = files
        return Made(
            ConditionRow(
                index=index,
                condition_id=condition_id,
                builder=condition.builder,
                source_case_ids=condition.source_case_ids,
                source_subject_ids=condition.source_subject_ids,
                role=self._role(condition),
                turn=turn,
                seed=seed,
                steps=condition.steps,
                map=label_map,
                sha256=hashes[label_map],
                channels={name.split("/")[0]: hashes[name] for name in others},
                presence=condition.presence,
                scalars_clipped=clipped,
                columns=columns,
            ),
            files,
        )

    def _role(self, condition: Condition) -> str:
        """Return the role of all parents; an atlas of other people has none."""
        subjects, roles = condition.source_subject_ids, self.spec.roles
        found = sorted({roles[subject] for subject in subjects if subject in roles})
        if len(found) > 1:
            raise LeakError(
                f"condition {condition.condition_id}: its parents {', '.join(subjects)} have the "
                f"roles {' and '.join(found)}. Keep cases and atlases of each role apart."
            )
        return found[0] if found else ""


def _files_of(condition: Condition) -> dict[str, bytes]:
    """Return the files of a condition by their place in the folder: map, then channels."""
    place = f"{condition.condition_id}.nii.gz"
    files = {f"maps/{place}": label_map_bytes(condition.label_map)}
    for name, volume in condition.channels.items():
        as_bytes = label_map_bytes if volume.array.dtype == "uint8" else image_bytes
        files[f"channels-{name}/{place}"] = as_bytes(volume)
    return files


def workshop_in(folder: Path) -> Workshop:
    """Return the workshop of a folder, kept in this process until its spec changes."""
    return _workshop(folder.resolve(), sha256_of_file(folder / "spec.json"))


@lru_cache(maxsize=2)
def _workshop(folder: Path, spec_sha256: str) -> Workshop:
    """Return the workshop of a folder with a spec of such a hash."""
    del spec_sha256
    return Workshop(folder)


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
        content = workshop_in(folder).make(row.index).files[row.map]
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
    result: dict[str, NDArray[np.float32]] = {}
    made: Made | None = None
    for place, sha256 in row.channels.items():
        name = f"{place}/{row.condition_id}.nii.gz"
        path = folder / name
        if path.exists():
            content = path.read_bytes()
        else:
            made = made or workshop_in(folder).make(row.index)
            content = made.files.get(name, b"")
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
    now, then = workshop_in(folder).make(row.index).row.files, row.files
    return [
        f"{name}: {now.get(name, 'nothing')[:12]} now, {then.get(name, 'nothing')[:12]} then"
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
