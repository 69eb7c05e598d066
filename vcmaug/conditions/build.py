"""`build-conditions`: n conditions of a few sources, in a folder with a table.

Says what has to be refused, prepares each builder once, and builds in a run that can be resumed;
maps/<id>.nii.gz come first and conditions.parquet last.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcmaug.compute import Compute, run_all
from vcmaug.conditions.base import Condition
from vcmaug.conditions.builder import Preparation
from vcmaug.conditions.chain import ConditionSettings, faults_of, missing_files, steps_of
from vcmaug.conditions.spec import ConditionSpec, Made, Workshop, workshop_in, write_spec
from vcmaug.conditions.table import (
    ConditionRow,
    merge_parts,
    part_of,
    read_part,
    write_part,
)
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import image_bytes, label_map_bytes
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError, LeakError, list_faults
from vcmaug.files import locked, sha256_of_bytes, sha256_of_file, write_bytes
from vcmaug.progress import Progress, Report, silent

__all__ = ["build_conditions", "files_of"]

_CHUNK = 16
_HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class _Chunk:
    """A few conditions for one worker."""

    first: int
    last: int
    folder: Path

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"conditions {self.first} to {self.last - 1}"


def build_conditions(
    settings: ConditionSettings,
    sources: Sequence[Case],
    *,
    folder: Path,
    scheme: LabelScheme,
    n: int,
    seed: int,
    roles: Mapping[str, str],
    scalars: Sequence[ScalarSpec] = (),
    lazy: bool = False,
    compute: Compute,
    report: Report = silent,
) -> None:
    """Build n conditions; chains take turns, and each goes round the sources.

    Args:
        settings: Chains of builders.
        sources: Labelled training cases.
        folder: Gets maps/ and the tables; what is there and whole is kept.
        scheme: Of the label maps.
        n: How many.
        seed: With the index it decides everything about a condition.
        roles: Role of every subject of the study: train, validation or test.
        scalars: Of the prior, for their ranges.
        lazy: Write the tables only; maps are made again where they are needed.
        compute: Where to run.
        report: Told as they are made.

    Raises:
        LeakError: A subject of test or validation is among the sources or an atlas' donors.
        DataError: There is no source, one has no label map, n is below 1, or steps do not fit.
        WorkFolderError: The folder is in use or holds other conditions.
        ComputeError: Some could not be built; the others are kept.
    """
    _refuse(settings, sources, scheme, roles, n=n)
    spec = ConditionSpec(
        settings,
        tuple(_for_workers(case) for case in sources),
        scheme,
        tuple(scalars),
        roles,
        seed,
        lazy,
    )
    with locked(folder, purpose="building conditions"):
        write_spec(folder, spec)
        for leftover in folder.glob("**/.*.tmp"):  # of a run that was killed
            leftover.unlink(missing_ok=True)
        _prepare(spec, folder, compute=compute, report=report)
        chunks = [
            _Chunk(first, min(n, first + _CHUNK), folder.resolve()) for first in range(0, n, _CHUNK)
        ]
        done = 0

        def count(chunk: _Chunk, made: None) -> None:
            nonlocal done
            done += chunk.last - chunk.first
            report(Progress("building conditions", done, n))

        run_all(_build_chunk, chunks, compute=compute, threads=1, on_done=count)
        merge_parts(folder, [part_of(folder, chunk.first) for chunk in chunks])


def _for_workers(case: Case) -> Case:
    """Return a case that means the same in any process: absolute paths, a plain row."""
    return replace(
        case,
        images={name: path.resolve() for name, path in case.images.items()},
        label=case.label.resolve() if case.label else None,
        source=dict(case.source),
    )


def _refuse(
    settings: ConditionSettings,
    sources: Sequence[Case],
    scheme: LabelScheme,
    roles: Mapping[str, str],
    *,
    n: int,
) -> None:
    """Refuse sources of test or validation subjects, sources without labels, and wrong steps."""
    if n < 1:
        raise DataError(f"building conditions: n = {n}, expected at least 1.")
    if not sources:
        raise DataError("building conditions: there are no labelled cases to build from.")
    _refuse_held_out({case.subject_id for case in sources}, roles, what="a source")
    bare = [case.case_id for case in sources if case.label is None]
    if bare:
        raise DataError(f"building conditions: case {', '.join(bare)} has no label map.")
    faults = [*faults_of(settings, scheme.names), *missing_files(settings)]
    if faults:
        raise DataError(list_faults("building conditions", faults))


def _refuse_held_out(subjects: Collection[str], roles: Mapping[str, str], *, what: str) -> None:
    """Refuse subjects of test or validation."""
    leaked = sorted(subject for subject in subjects if roles.get(subject) in _HELD_OUT)
    if leaked:
        raise LeakError(
            f"building conditions: subject {', '.join(leaked)}, {what}, belongs to test or "
            "validation. Use training subjects only."
        )


def _prepare(spec: ConditionSpec, folder: Path, *, compute: Compute, report: Report) -> None:
    """Let every builder learn what it needs, once each."""

    def run(function: Callable[[Any], None], items: Sequence[Any], *, doing: str) -> None:
        done = 0

        def count(item: Any, made: None) -> None:
            nonlocal done
            done += 1
            report(Progress(doing, done, len(items)))

        run_all(function, items, compute=compute, threads=1, on_done=count)

    given = Preparation(
        sources=spec.sources,
        scheme=spec.scheme,
        folder=folder.resolve(),
        run=run,
        report=report,
        refuse_held_out=lambda subjects, what: _refuse_held_out(subjects, spec.roles, what=what),
    )
    for step in steps_of(spec.settings):
        step.learn(given)


def _build_chunk(chunk: _Chunk) -> None:
    """Build the conditions of one chunk, unless they are there and whole."""
    path = part_of(chunk.folder, chunk.first)
    if path.exists() and _is_whole(path, chunk):
        return
    workshop = workshop_in(chunk.folder)
    rows = [_build_one(workshop, chunk.folder, index) for index in range(chunk.first, chunk.last)]
    write_part(path, rows)


def _is_whole(part: Path, chunk: _Chunk) -> bool:
    """Return whether a part has all its rows and each map is as its row says."""
    rows = read_part(part)
    if len(rows) != chunk.last - chunk.first:
        return False
    if not (chunk.folder / "maps").exists():  # lazy
        return True
    files = [(chunk.folder / row.map, row.sha256) for row in rows]
    return all(path.exists() and sha256_of_file(path) == expected for path, expected in files)


def _build_one(workshop: Workshop, folder: Path, index: int) -> ConditionRow:
    """Return the row of one condition; write its files unless the folder is lazy."""
    made = workshop.make(index)
    files = files_of(made.condition)
    if not workshop.spec.lazy:
        for name, content in files.items():
            path = folder / name
            if not path.exists() or path.read_bytes() != content:
                write_bytes(path, content)
    return _row_of(made, files)


def _row_of(made: Made, files: Mapping[str, bytes]) -> ConditionRow:
    """Return the row of a condition with these files."""
    hashes = {name.split("/")[0]: sha256_of_bytes(content) for name, content in files.items()}
    condition = made.condition
    return ConditionRow(
        index=made.index,
        condition_id=condition.condition_id,
        builder=condition.builder,
        source_case_ids=condition.source_case_ids,
        source_subject_ids=condition.source_subject_ids,
        role=made.role,
        turn=condition.turn,
        seed=made.seed,
        steps=condition.steps,
        map=f"maps/{condition.condition_id}.nii.gz",
        sha256=hashes.pop("maps"),
        channels=hashes,
        presence=condition.presence,
        scalars_clipped=made.scalars.clipped,
        columns=made.scalars.columns,
    )


def files_of(condition: Condition) -> dict[str, bytes]:
    """Return the files of a condition by their place in the folder: map and channels."""
    place = f"{condition.condition_id}.nii.gz"
    files = {f"maps/{place}": label_map_bytes(condition.label_map)}
    for name, volume in condition.channels.items():
        files[f"channels-{name}/{place}"] = _channel_bytes(volume)
    return files


def _channel_bytes(volume: Volume) -> bytes:
    """Return the file of a mask, or of an image."""
    return label_map_bytes(volume) if volume.array.dtype == "uint8" else image_bytes(volume)
