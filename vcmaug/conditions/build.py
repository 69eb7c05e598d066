"""`build-conditions`: n conditions of a few sources, in a folder with a table.

What it is: the registry of builders, and a resumable run of them.
In the flow: leaves maps/<id>.nii.gz and, last, conditions.parquet and .csv.
Sources: none.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from vcmaug.compute import Compute, run_all
from vcmaug.conditions.base import Builder, Condition, SourceMap
from vcmaug.conditions.perturb import Perturb, PerturbSettings
from vcmaug.conditions.shape_model import (
    ShapeModel,
    ShapeModelBuilder,
    ShapeModelSettings,
    learn_shape_model,
)
from vcmaug.config import Settings
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_label_map, write_label_map
from vcmaug.errors import DataError, LeakError, WorkFolderError
from vcmaug.files import (
    locked,
    read_json,
    sha256_of_file,
    write_bytes,
    write_json,
    write_text,
)
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import fingerprint
from vcmaug.seeding import stable_seed

__all__ = ["ConditionSettings", "build_conditions", "builders_of", "read_conditions"]

_CHUNK = 16
_SHAPE_MODEL = "shape_model.npz"


class ConditionSettings(Settings):
    """Which builders make the conditions, and their settings."""

    builders: tuple[Literal["perturb", "shape_model"], ...] = Field(
        ("perturb",), min_length=1, description="taken in turns"
    )
    perturb: PerturbSettings = PerturbSettings()
    shape_model: ShapeModelSettings = ShapeModelSettings()
    inherit: tuple[str, ...] = Field(
        ("age", "sex"), description="columns of the case table that a condition takes over"
    )


@dataclass(frozen=True)
class _Chunk:
    """A few conditions for one worker: everything it needs, by value or by path."""

    first: int
    last: int
    seed: int
    folder: Path
    settings: ConditionSettings
    scheme: LabelScheme
    sources: tuple[Case, ...]

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"conditions {self.first} to {self.last - 1}"


def builders_of(settings: ConditionSettings, scheme: LabelScheme, folder: Path) -> list[Builder]:
    """Return the builders that settings name, in their order.

    Args:
        settings: Which, and how.
        scheme: Of the label maps.
        folder: Holds the shape model, where one is asked for.
    """
    builders: list[Builder] = []
    for name in settings.builders:
        if name == "perturb":
            builders.append(Perturb(settings.perturb, scheme, settings.inherit))
        else:
            model = ShapeModel.read(folder / _SHAPE_MODEL)
            shapes = ShapeModelBuilder(settings.shape_model, scheme, model, settings.inherit)
            builders.append(shapes)
    return builders


def build_conditions(
    settings: ConditionSettings,
    sources: Sequence[Case],
    *,
    folder: Path,
    scheme: LabelScheme,
    n: int,
    seed: int,
    forbidden: Sequence[str],
    compute: Compute,
    report: Report = silent,
) -> pd.DataFrame:
    """Build n conditions and return their table; builders take turns, and each goes round sources.

    Args:
        settings: Which builder.
        sources: Labelled training cases.
        folder: Gets maps/ and the tables; what is there and whole is kept.
        scheme: Of the label maps.
        n: How many.
        seed: With the index it decides everything about a condition.
        forbidden: Subjects of test and validation.
        compute: Where to run.
        report: Told as they are made.

    Raises:
        LeakError: A forbidden subject is among the sources.
        DataError: There is no source, one has no label map, or n is below 1.
        WorkFolderError: The folder is in use or holds other conditions.
        ComputeError: Some could not be built; the others are kept.
    """
    _refuse(sources, forbidden, n=n)
    used = tuple(_for_workers(case) for case in sources)
    rows: dict[str, dict[str, Any]] = {}

    def collect(chunk: _Chunk, made: list[dict[str, Any]]) -> None:
        del chunk
        rows.update({row["condition_id"]: row for row in made})
        report(Progress("building conditions", len(rows), n))

    with locked(folder, purpose="building conditions"):
        _claim(folder, _identity(settings, used, scheme=scheme, seed=seed))
        for leftover in folder.glob("*/.*.tmp"):  # of a run that was killed
            leftover.unlink(missing_ok=True)
        chunks = [
            _Chunk(first, min(n, first + _CHUNK), seed, folder.resolve(), settings, scheme, used)
            for first in range(0, n, _CHUNK)
        ]
        if "shape_model" in settings.builders:
            maps = [_source_map(case) for case in used]
            learn_shape_model(maps, scheme, settings.shape_model).write(folder / _SHAPE_MODEL)
        run_all(_build_chunk, chunks, compute=compute, threads=1, on_done=collect)
        table = pd.DataFrame([rows[name] for name in sorted(rows)])
        write_bytes(folder / "conditions.parquet", table.to_parquet(index=False))
        write_text(folder / "conditions.csv", table.to_csv(index=False))
    return table


def _for_workers(case: Case) -> Case:
    """Return a case that means the same in any process: an absolute path, a plain row."""
    label = case.label.resolve() if case.label else None
    return replace(case, label=label, row=dict(case.row))


def _refuse(sources: Sequence[Case], forbidden: Sequence[str], *, n: int) -> None:
    """Refuse sources of test or validation subjects, and sources without labels."""
    if n < 1:
        raise DataError(f"building conditions: {n} were asked for, expected at least 1.")
    if not sources:
        raise DataError("building conditions: there is no labelled case to build from.")
    leaked = sorted({case.subject_id for case in sources} & set(forbidden))
    if leaked:
        raise LeakError(
            f"building conditions: subject {', '.join(leaked)} belongs to test or validation. Use "
            "training subjects only."
        )
    bare = [case.case_id for case in sources if case.label is None]
    if bare:
        raise DataError(f"building conditions: case {', '.join(bare)} has no label map.")


def _identity(
    settings: ConditionSettings, sources: Sequence[Case], *, scheme: LabelScheme, seed: int
) -> dict[str, Any]:
    """Return what all conditions of a folder share.

    What a condition takes over from its source counts, so that a corrected subject or age in the
    case table does not leave records of the old one.
    """
    taken_over = [
        [case.subject_id, *(str(case.row.get(name)) for name in settings.inherit)]
        for case in sources
    ]
    return {
        "settings": settings.model_dump(mode="json", include=set(ConditionSettings.model_fields)),
        "sources": [case.case_id for case in sources],
        "taken_over": fingerprint(taken_over),
        "labels": fingerprint([sha256_of_file(case.label) for case in sources if case.label]),
        "scheme": scheme.to_json(),
        "seed": seed,
    }


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Write the folder's identity, or refuse a folder of other conditions."""
    path = folder / "identity.json"
    if path.exists() and read_json(path) != identity:
        raise WorkFolderError(
            f"building conditions in {folder}: the folder holds conditions of other sources, "
            "settings or seed. Remove it or choose another --out."
        )
    write_json(path, identity)


def _build_chunk(chunk: _Chunk) -> list[dict[str, Any]]:
    """Build or find the conditions of one chunk; return their rows."""
    builders = builders_of(chunk.settings, chunk.scheme, chunk.folder)
    return [_build_one(chunk, index, builders) for index in range(chunk.first, chunk.last)]


def _build_one(chunk: _Chunk, index: int, builders: Sequence[Builder]) -> dict[str, Any]:
    """Return the row of one condition, from its file of record if map and record agree."""
    condition_id = f"c{index:06d}"
    record_path = chunk.folder / "records" / f"{condition_id}.json"
    map_path = chunk.folder / "maps" / f"{condition_id}.nii.gz"
    if record_path.exists() and map_path.exists():
        row: dict[str, Any] = read_json(record_path)
        if row["sha256"] == sha256_of_file(map_path):
            return row
    turn, place = divmod(index, len(builders))
    source = _source_map(chunk.sources[turn % len(chunk.sources)])
    seed = stable_seed(chunk.seed, condition_id, "condition")
    condition = builders[place].build(source, condition_id=condition_id, seed=seed)
    row = _row(condition, sha256=write_label_map(map_path, condition.label_map))
    write_json(record_path, row)
    return row


def _source_map(case: Case) -> SourceMap:
    """Return a labelled case as builders see it."""
    assert case.label is not None  # refused before
    label_map = read_label_map(case.label, case_id=case.case_id)
    return SourceMap(case.case_id, case.subject_id, label_map, case.row)


def _row(condition: Condition, *, sha256: str) -> dict[str, Any]:
    """Return a condition as a row of its table."""
    return {
        "condition_id": condition.condition_id,
        "map": f"maps/{condition.condition_id}.nii.gz",
        "sha256": sha256,
        "source_case_ids": json.dumps(condition.source_case_ids),
        "source_subject_ids": json.dumps(condition.source_subject_ids),
        "builder": condition.builder,
        "parameters": json.dumps(condition.parameters),
        "seed": str(condition.seed),
        **{f"check_{name}": value for name, value in condition.checks.items()},
        **condition.row,
    }


def read_conditions(folder: Path) -> pd.DataFrame:
    """Return the table of conditions in a folder.

    Raises:
        WorkFolderError: There is none.
    """
    path = folder / "conditions.parquet"
    if not path.exists():
        raise WorkFolderError(
            f"reading conditions: {path} is not there. Run `vcmaug build-conditions` first."
        )
    return pd.read_parquet(path)
