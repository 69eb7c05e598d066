"""What a folder of conditions is made of, so that any of them can be made again.

It is written before the first condition is built; workers and replays read it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vcmaug.conditions.base import Condition, SourceMap, as_it_is, recomputed, source_map
from vcmaug.conditions.builder import Ready
from vcmaug.conditions.chain import ConditionSettings, chain_of, files_of_steps
from vcmaug.conditions.scalars import Scalars, with_scalars
from vcmaug.data.case import LABEL, Case, Measured
from vcmaug.data.labels import LabelScheme
from vcmaug.data.scalars import ScalarSpec
from vcmaug.errors import LeakError, WorkFolderError
from vcmaug.files import read_json, sha256_of_file, write_json
from vcmaug.provenance import fingerprint
from vcmaug.seeding import stable_seed

__all__ = ["ConditionSpec", "Made", "Workshop", "read_spec", "workshop_in", "write_spec"]

_KEPT_MAPS = 8  # label maps of sources that a worker keeps in memory


@dataclass(frozen=True)
class ConditionSpec:
    """Everything that decides about the conditions of a folder, but their number.

    Attributes:
        settings: Chains of builders.
        sources: Labelled training cases.
        scheme: Of their label maps.
        scalars: Of the prior.
        roles: Role of each subject of the study.
        seed: With its id it decides everything about a condition.
        lazy: Whether maps are not written but made where they are needed.
    """

    settings: ConditionSettings
    sources: tuple[Case, ...]
    scheme: LabelScheme
    scalars: tuple[ScalarSpec, ...]
    roles: Mapping[str, str]
    seed: int
    lazy: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what two specs share that make the same conditions; no path is in it."""
        columns = {*self.settings.inherit, *self.settings.scalars.columns}
        taken_over = [
            [case.subject_id, *(str(case.columns.get(name)) for name in sorted(columns))]
            for case in self.sources
        ]
        files = [[case.hash_of(LABEL), *map(case.hash_of, case.images)] for case in self.sources]
        return {
            "settings": self.settings.model_dump(mode="json"),
            "sources": [case.case_id for case in self.sources],
            "taken_over": fingerprint(taken_over),
            "files": fingerprint([files, files_of_steps(self.settings)]),
            "scheme": self.scheme.to_json(),
            "scalars": [spec.model_dump(mode="json") for spec in self.scalars],
            "seed": self.seed,
            "lazy": self.lazy,
        }


def write_spec(folder: Path, spec: ConditionSpec) -> None:
    """Write a folder's spec, or find its own there.

    Raises:
        WorkFolderError: The folder holds conditions of another spec.
    """
    path, identity = folder / "spec.json", spec.identity()
    if path.exists() and read_json(path).get("identity") != identity:
        raise WorkFolderError(
            f"building conditions in {folder}: the folder holds conditions of other sources, "
            "settings or seed. Move it away."
        )
    sources = [
        {
            "case_id": case.case_id,
            "subject_id": case.subject_id,
            "label": str(case.label),
            "images": {name: str(image) for name, image in case.images.items()},
            "source": {name: _plain(value) for name, value in case.source.items()},
            "measured": None if case.measured is None else asdict(case.measured),
            "sha256": dict(case.sha256),
        }
        for case in spec.sources
    ]
    about = {"roles": dict(spec.roles), "source_values": list(spec.scheme.source_values)}
    write_json(path, {"identity": identity, "sources": sources, **about})


def _plain(value: Any) -> Any:
    """Return a cell of the case table as JSON can hold it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return None if number != number else number


def read_spec(folder: Path) -> ConditionSpec:
    """Return the spec of a folder.

    Raises:
        WorkFolderError: There is none, or an older version wrote it.
    """
    content = read_json(folder / "spec.json")
    if "roles" not in content:
        raise WorkFolderError(
            f"reading the conditions of {folder}: they were made by an older version. Move the "
            "folder away and run `vcmaug build-conditions` again."
        )
    identity = content["identity"]
    return ConditionSpec(
        settings=ConditionSettings.model_validate(identity["settings"]),
        sources=tuple(_case(one) for one in content["sources"]),
        scheme=LabelScheme.from_json(
            identity["scheme"], source_values=content.get("source_values", ())
        ),
        scalars=tuple(ScalarSpec.model_validate(one) for one in identity["scalars"]),
        roles=content["roles"],
        seed=identity["seed"],
        lazy=identity["lazy"],
    )


def _case(content: Mapping[str, Any]) -> Case:
    """Return a source as `write_spec` wrote it."""
    measured = content["measured"]
    return Case(
        case_id=content["case_id"],
        subject_id=content["subject_id"],
        images={name: Path(path) for name, path in content["images"].items()},
        label=Path(content["label"]),
        source=content["source"],
        measured=None if measured is None else Measured(**measured),
        sha256=content["sha256"],
    )


@dataclass(frozen=True)
class Made:
    """A condition that was made.

    Attributes:
        condition: With its map and channels.
        index: Of it.
        seed: From which all its steps drew.
        role: Of all its parents; empty where none is of the study.
        scalars: Its columns.
    """

    condition: Condition
    index: int
    seed: int
    role: str
    scalars: Scalars


class Workshop:
    """Makes any condition of a folder, by its index; one per process.

    Args:
        folder: With spec.json and prepared/.
    """

    def __init__(self, folder: Path) -> None:
        self.spec = read_spec(folder)
        cases = [case.case_id for case in self.spec.sources]
        self.builders: list[list[Ready]] = [
            [step.ready(self.spec.scheme, folder=folder, cases=cases) for step in chain.steps]
            for chain in self.spec.settings.chains
        ]
        self._source = lru_cache(maxsize=_KEPT_MAPS)(self._read_source)

    def _read_source(self, number: int) -> SourceMap:
        """Return a source."""
        return source_map(self.spec.sources[number])

    def make(self, index: int) -> Made:
        """Return a condition.

        Raises:
            DataError: A builder gave up.
            LeakError: Its parents have two roles.
        """
        spec, condition_id = self.spec, f"c{index:06d}"
        chain, turn = chain_of(spec.settings, index)
        rounds, number = divmod(turn, len(spec.sources))
        seed = stable_seed(spec.seed, condition_id, "condition")
        condition = as_it_is(
            self._source(number),
            condition_id=condition_id,
            turn=rounds,
            inherit=spec.settings.inherit,
        )
        for place, builder in enumerate(self.builders[chain]):
            condition = builder.build(condition, seed=stable_seed(seed, place))
        scalars = with_scalars(
            recomputed(condition.row, condition.label_map, scheme=spec.scheme),
            spec.settings.scalars,
            spec.scalars,
            table=[case.columns for case in spec.sources],
            turn=rounds,
            seed=seed,
            name=condition_id,
        )
        return Made(condition, index, seed, self._role(condition), scalars)

    def _role(self, condition: Condition) -> str:
        """Return the role of all parents; an atlas of other people has none."""
        roles = {
            self.spec.roles[subject]
            for subject in condition.source_subject_ids
            if subject in self.spec.roles
        }
        if len(roles) > 1:
            raise LeakError(
                f"condition {condition.condition_id}: its parents "
                f"{', '.join(condition.source_subject_ids)} have the roles "
                f"{' and '.join(sorted(roles))}. Keep cases and atlases of each role apart."
            )
        return roles.pop() if roles else ""


def workshop_in(folder: Path) -> Workshop:
    """Return the workshop of a folder, kept in this process until its spec changes."""
    return _workshop(folder.resolve(), sha256_of_file(folder / "spec.json"))


@lru_cache(maxsize=2)
def _workshop(folder: Path, spec_sha256: str) -> Workshop:
    """Return the workshop of a folder with a spec of such a hash."""
    del spec_sha256
    return Workshop(folder)
