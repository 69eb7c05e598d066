"""What a folder of conditions is made of, so that any of them can be made again.

It is written before the first condition is built; workers and replays read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from vcmaug.conditions.base import Cell
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.config import Settings
from vcmaug.data.case import LABEL, Case
from vcmaug.data.labels import LabelScheme, Structure
from vcmaug.data.scalars import ScalarSpec
from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json, write_json
from vcmaug.provenance import fingerprint

__all__ = ["ConditionSpec", "Identity"]


class Identity(Settings):
    """What two folders share that hold the same conditions, but their number; no path is in it.

    Attributes:
        settings: Chains of builders.
        sources: Ids of the labelled training cases.
        taken_over: Fingerprint of the sources' columns that conditions take over.
        files: Fingerprint of all files that sources and builders read.
        scheme: Structures of the label maps.
        scalars: Of the prior.
        seed: With its id it decides everything about a condition.
        lazy: Whether maps are not written but made where they are needed.
    """

    settings: ConditionSettings
    sources: tuple[str, ...]
    taken_over: str
    files: str
    scheme: tuple[Structure, ...]
    scalars: tuple[ScalarSpec, ...]
    seed: int
    lazy: bool


class ConditionSpec(Settings):
    """Everything that decides about the conditions of a folder, but their number.

    Attributes:
        identity: By which another spec of the same conditions is known.
        sources: Labelled training cases, with absolute paths.
        whole: The same cases on a larger grid, on which builders work; empty: on their own.
        roles: Role of each subject of the study.
        source_values: The user's own values of the structures; empty: those of the scheme.
    """

    identity: Identity
    sources: tuple[Case, ...]
    roles: Mapping[str, str]
    whole: tuple[Case, ...] = ()
    source_values: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        settings: ConditionSettings,
        sources: Sequence[Case],
        *,
        scheme: LabelScheme,
        scalars: Sequence[ScalarSpec],
        roles: Mapping[str, str],
        seed: int,
        lazy: bool,
        whole: Sequence[Case] = (),
    ) -> "ConditionSpec":
        """Return the spec of conditions of some sources."""
        columns = sorted({*settings.inherit, *settings.scalars.columns})
        taken_over = [
            [case.subject_id, *(str(case.columns.get(name)) for name in columns)]
            for case in sources
        ]
        files = [
            [case.hash_of(LABEL), *map(case.hash_of, case.images)] for case in (*sources, *whole)
        ]
        identity = Identity(
            settings=settings,
            sources=tuple(case.case_id for case in sources),
            taken_over=fingerprint(taken_over),
            files=fingerprint([files, settings.files()]),
            scheme=scheme.structures,
            scalars=tuple(scalars),
            seed=seed,
            lazy=lazy,
        )
        return cls(
            identity=identity,
            sources=tuple(map(_for_workers, sources)),
            roles=roles,
            whole=tuple(map(_for_workers, whole)),
            source_values=scheme.source_values,
        )

    @property
    def worked_on(self) -> tuple[Case, ...]:
        """The sources as builders see them."""
        return self.whole or self.sources

    @property
    def scheme(self) -> LabelScheme:
        """Of the label maps."""
        return LabelScheme(self.identity.scheme, source_values=self.source_values)

    def write(self, folder: Path) -> None:
        """Write the spec of a folder, or find it written there already.

        Raises:
            WorkFolderError: The folder holds conditions of another spec, or of an older version.
        """
        path = folder / "spec.json"
        if path.exists() and ConditionSpec.read(folder).identity != self.identity:
            raise WorkFolderError(
                f"building conditions in {folder}: the folder holds conditions of other sources, "
                "settings or seed. Move it away."
            )
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> "ConditionSpec":
        """Return the spec of a folder.

        Raises:
            WorkFolderError: There is none, or an older version wrote it.
        """
        path = folder / "spec.json"
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as fault:
            raise WorkFolderError(
                f"reading the conditions of {folder}: {path} is not of this version "
                f"({fault.errors()[0]['msg']}): they were made by an older version, or by a "
                "builder that is not installed. Move the folder away and run `vcmaug "
                "build-conditions` again."
            ) from None


def _for_workers(case: Case) -> Case:
    """Return a case that means the same in any process: absolute paths, cells as JSON has them."""
    return replace(
        case,
        images={name: path.resolve() for name, path in case.images.items()},
        label=case.label.resolve() if case.label else None,
        source={name: _plain(value) for name, value in case.source.items()},
        way_back=None,
    )


def _plain(value: object) -> Cell:
    """Return a cell of the case table as JSON can hold it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)  # type: ignore[arg-type]
    return None if number != number else number
