"""The workshop of a folder: makes any of its conditions, by its index, and the images that follow.

A file of a condition is read where it was written, and made again where it was not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from vcmaug.conditions.base import Condition, SourceMap, as_it_is, recomputed, source_map
from vcmaug.conditions.builder import followed
from vcmaug.conditions.spec import ConditionSpec
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.data.geometry import onto
from vcmaug.data.nifti import (
    image_bytes,
    label_map_bytes,
    read_image,
)
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError, LeakError
from vcmaug.files import sha256_of_bytes, sha256_of_file
from vcmaug.seeding import stable_seed

__all__ = ["Made", "Workshop", "map_bytes", "replay", "workshop_in"]

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
        self._target = lru_cache(maxsize=_KEPT_MAPS)(self._read_target)

    def _read_source(self, number: int) -> SourceMap:
        """Return a source as builders see it."""
        return source_map(self.spec.worked_on[number])

    def _read_target(self, number: int) -> Volume:
        """Return the label map of a source on its own grid."""
        return source_map(self.spec.sources[number]).label_map

    def _placed(self, volume: Volume, number: int, *, is_label: bool) -> Volume:
        """Return what builders made of a source, on the source's own grid."""
        if not self.spec.whole:
            return volume
        return onto(volume, self._target(number), is_label=is_label)

    def follow(
        self,
        row: ConditionRow,
        shown: Callable[[Volume], Volume] = lambda image: image,
        *,
        classes: bool = False,
    ) -> Volume:
        """Return the image of a condition's source, moved as its label map was, on that grid.

        Args:
            row: Of the condition, whose steps an image can follow.
            shown: What is made of the image before it is moved.
            classes: That has numbers of classes, which are not interpolated.
        """
        number = self.spec.identity.sources.index(row.source_case_ids[0])
        case, label_map = self.spec.worked_on[number], self._source(number).label_map
        image = read_image(case.image, case_id=case.case_id)
        start = shown(Volume(image.array, label_map.affine))
        moved = followed(start, row.steps, source=label_map, classes=classes)
        return self._placed(moved, number, is_label=classes)

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
            self._source(number),
            condition_id=condition_id,
            turn=turn,
            uses=uses,
            inherit=settings.inherit,
        )
        for place, builder in enumerate(self.builders[chain]):
            condition = builder.build(condition, seed=stable_seed(seed, place))
        condition = self._on_grid(condition, number)
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

    def _on_grid(self, condition: Condition, number: int) -> Condition:
        """Return a condition on the grid of its source."""
        if not self.spec.whole:
            return condition
        channels = {
            name: self._placed(volume, number, is_label=volume.array.dtype == "uint8")
            for name, volume in condition.channels.items()
        }
        label_map = self._placed(condition.label_map, number, is_label=True)
        return replace(condition, label_map=label_map, channels=channels)

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
