"""`build-conditions`: n conditions of a few sources, in a folder with a table.

What it is: what has to be refused, what is prepared once, and a resumable run of the builders.
In the flow: leaves maps/<id>.nii.gz and, last, conditions.parquet and .csv.
Sources: none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vcmaug.compute import Compute, run_all
from vcmaug.conditions.atlas import Atlas
from vcmaug.conditions.atlas_index import index_atlas, refuse_other_space
from vcmaug.conditions.base import Condition
from vcmaug.conditions.chain import (
    ConditionSettings,
    faults_of,
    map_file,
    missing_files,
    prepared_file,
    steps_of,
)
from vcmaug.conditions.lesions import LesionsSettings
from vcmaug.conditions.shape_builder import ShapeModelSettings
from vcmaug.conditions.shape_model import learn_shape_model
from vcmaug.conditions.spec import (
    ConditionSpec,
    Workshop,
    source_map,
    workshop_in,
    write_spec,
)
from vcmaug.conditions.table import merge_parts, part_of, row_of, write_part
from vcmaug.data.cases import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import image_bytes, label_map_bytes, read_image
from vcmaug.data.registration import register
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


@dataclass(frozen=True)
class _Pair:
    """A source to be registered to the template of an atlas."""

    case_id: str
    image: Path
    template: Path
    out: Path

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"registration of case {self.case_id}"


def build_conditions(
    settings: ConditionSettings,
    sources: Sequence[Case],
    *,
    folder: Path,
    scheme: LabelScheme,
    n: int,
    seed: int,
    folds: Mapping[str, str],
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
        folds: Role of every subject of the study: train, validation or test.
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
    _refuse(settings, sources, scheme, folds, n=n)
    spec = ConditionSpec(
        settings,
        tuple(_for_workers(case) for case in sources),
        scheme,
        tuple(scalars),
        folds,
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
    folds: Mapping[str, str],
    *,
    n: int,
) -> None:
    """Refuse sources of test or validation subjects, sources without labels, and wrong steps."""
    if n < 1:
        raise DataError(f"building conditions: {n} were asked for, expected at least 1.")
    if not sources:
        raise DataError("building conditions: there is no labelled case to build from.")
    _refuse_held_out({case.subject_id for case in sources}, folds, what="a source")
    bare = [case.case_id for case in sources if case.label is None]
    if bare:
        raise DataError(f"building conditions: case {', '.join(bare)} has no label map.")
    faults = [*faults_of(settings, scheme.names), *missing_files(settings)]
    if faults:
        raise DataError(list_faults("building conditions", faults))


def _refuse_held_out(subjects: set[str], folds: Mapping[str, str], *, what: str) -> None:
    """Refuse subjects of test or validation."""
    leaked = sorted(subject for subject in subjects if folds.get(subject) in _HELD_OUT)
    if leaked:
        raise LeakError(
            f"building conditions: subject {', '.join(leaked)}, {what}, belongs to test or "
            "validation. Use training subjects only."
        )


def _prepare(spec: ConditionSpec, folder: Path, *, compute: Compute, report: Report) -> None:
    """Learn shape models, index atlases and register sources, once each."""
    for step in steps_of(spec.settings):
        path = prepared_file(folder, step)
        if isinstance(step, ShapeModelSettings) and not path.exists():
            maps = [source_map(case) for case in spec.sources]
            learned = learn_shape_model(
                maps,
                spec.scheme.only(step.structures or spec.scheme.names),
                variance_kept=step.variance_kept,
                max_modes=step.max_modes,
            )
            learned.write(path)
        if isinstance(step, LesionsSettings):
            _prepare_lesions(step, spec, folder, compute=compute, report=report)


def _prepare_lesions(
    step: LesionsSettings, spec: ConditionSpec, folder: Path, *, compute: Compute, report: Report
) -> None:
    """Index the atlas of a step, and register the sources to its template if asked."""
    path = prepared_file(folder, step)
    if path.exists():
        atlas = Atlas.read(path)
    else:
        report(Progress("indexing the atlas", 0, 1))
        atlas = index_atlas(step.atlas)
        write_bytes(path.with_suffix(".csv"), atlas.table().to_csv(index=False).encode())
        atlas.write(path)
    _refuse_held_out(set(atlas.counts), spec.folds, what=f"a donor of {step.atlas.source}")
    if step.placement == "common":
        refuse_other_space(atlas, [source_map(case) for case in spec.sources])
    if step.placement == "registered":
        assert step.atlas.template is not None  # refused before
        pairs = [
            _Pair(case.case_id, case.image, step.atlas.template.resolve(), out)
            for case in spec.sources
            if not (out := map_file(folder.resolve(), step, case.case_id)).exists()
        ]
        done: list[str] = []

        def count(pair: _Pair, made: None) -> None:
            done.append(pair.case_id)
            report(Progress("registering", len(done), len(pairs)))

        run_all(_register, pairs, compute=compute, threads=1, on_done=count)


def _register(pair: _Pair) -> None:
    """Register one source to a template and keep the map."""
    register(
        read_image(pair.image, case_id=pair.case_id),
        read_image(pair.template, case_id="the template of the atlas"),
        names=(f"case {pair.case_id}", f"the template {pair.template}"),
    ).write(pair.out)


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
    table = pq.read_table(part, columns=["map", "sha256"]).to_pylist()
    if len(table) != chunk.last - chunk.first:
        return False
    if not (chunk.folder / "maps").exists():  # lazy
        return True
    files = [(chunk.folder / row["map"], row["sha256"]) for row in table]
    return all(path.exists() and sha256_of_file(path) == expected for path, expected in files)


def _build_one(workshop: Workshop, folder: Path, index: int) -> dict[str, Any]:
    """Return the row of one condition; write its files unless the folder is lazy."""
    condition, seed, fold, row = workshop.make(index)
    files = files_of(condition)
    if not workshop.spec.lazy:
        for name, content in files.items():
            path = folder / name
            if not path.exists() or path.read_bytes() != content:
                write_bytes(path, content)
    hashes = {name.split("/")[0]: sha256_of_bytes(content) for name, content in files.items()}
    return row_of(
        condition,
        fold=fold,
        seed=seed,
        row=row,
        map_sha256=hashes.pop("maps"),
        channels=hashes,
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
