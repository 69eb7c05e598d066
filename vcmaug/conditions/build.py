"""`build-conditions`: n conditions of a few sources, in a folder with a table.

Says what has to be refused, prepares each builder once, and builds in a run that can be resumed;
maps/<id>.nii.gz come first and conditions.parquet last.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vcmaug.compute import Compute, run_all
from vcmaug.conditions.builder import Preparation
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.conditions.spec import ConditionSpec
from vcmaug.conditions.table import merge_parts, part_of, read_rows, write_rows
from vcmaug.conditions.workshop import workshop_in
from vcmaug.data.case import Case, files_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.scalars import ScalarSpec
from vcmaug.errors import DataError, LeakError, list_faults
from vcmaug.files import locked, sha256_of_file, write_bytes
from vcmaug.outputs import refuse_overlap
from vcmaug.progress import Progress, Report, silent

__all__ = ["build_conditions"]

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
    whole: Sequence[Case] = (),
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
        whole: The same cases on a larger grid: builders work there, and what they make is brought
            to the grid of the sources at last. None: they work on that.
        compute: Where to run.
        report: Told as they are made.

    Raises:
        LeakError: A subject of test or validation is among the sources or an atlas' donors.
        DataError: There is no source, one has no label map, n is below 1, or steps do not fit.
        WorkFolderError: The folder is in use, holds other conditions, or holds what is read.
        ComputeError: Some could not be built; the others are kept.
    """
    _refuse(settings, sources, scheme, roles, n=n)
    of_id = {case.case_id: case for case in whole}
    if whole and (bare := [case.case_id for case in sources if case.case_id not in of_id]):
        raise DataError(
            f"building conditions: case {bare[0]} and {len(bare) - 1} more are not among the "
            f"{len(whole)} cases on the larger grid, such as those with pseudo-labels. Build "
            "conditions on the grid of the data."
        )
    spec = ConditionSpec.of(
        settings,
        sources,
        scheme=scheme,
        scalars=scalars,
        roles=roles,
        seed=seed,
        lazy=lazy,
        whole=[of_id[case.case_id] for case in sources] if whole else (),
    )
    folder = folder.resolve()
    reads = [*settings.paths, *files_of([*sources, *whole])]
    refuse_overlap("building conditions", writes=[folder], reads=reads)
    with locked(folder, purpose="building conditions"):
        spec.write(folder)
        for leftover in folder.glob("**/.*.tmp"):  # of a run that was killed
            leftover.unlink(missing_ok=True)

        run = partial(_run, compute=compute, report=report)
        given = Preparation(
            sources=spec.worked_on,
            scheme=scheme,
            folder=folder,
            run=run,
            report=report,
            refuse_held_out=lambda subjects, what: _refuse_held_out(subjects, roles, what=what),
        )
        for step in settings.steps:
            step.learn(given)
        chunks = [_Chunk(first, min(n, first + _CHUNK), folder) for first in range(0, n, _CHUNK)]
        run(_build_chunk, chunks, doing="building conditions", size=_size_of)
        merge_parts(folder, [part_of(folder, chunk.first) for chunk in chunks])


def _run(
    function: Callable[[Any], None],
    items: Sequence[Any],
    *,
    doing: str,
    compute: Compute,
    report: Report,
    size: Callable[[Any], int] = lambda item: 1,
) -> None:
    """Run a function over items, on workers where there are any, and report as they end.

    Args:
        function: Importable by name.
        items: Small and picklable.
        doing: A word for the progress bar.
        compute: Where.
        report: Told how much is done.
        size: How much an item counts for.
    """
    done, total = 0, sum(map(size, items))

    def count(item: Any, made: None) -> None:
        nonlocal done
        done += size(item)
        report(Progress(doing, done, total))

    run_all(function, items, compute=compute, threads=1, on_done=count)


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
    if faults := [*settings.faults(scheme.names), *settings.missing_files()]:
        raise DataError(list_faults("building conditions", faults))


def _refuse_held_out(subjects: Collection[str], roles: Mapping[str, str], *, what: str) -> None:
    """Refuse subjects of test or validation."""
    leaked = sorted(subject for subject in subjects if roles.get(subject) in _HELD_OUT)
    if leaked:
        raise LeakError(
            f"building conditions: subject {', '.join(leaked)}, {what}, belongs to test or "
            "validation. Use training subjects only."
        )


def _size_of(chunk: _Chunk) -> int:
    """Return how many conditions a chunk has."""
    return chunk.last - chunk.first


def _build_chunk(chunk: _Chunk) -> None:
    """Build the conditions of one chunk, unless they are there and whole."""
    path = part_of(chunk.folder, chunk.first)
    if path.exists() and _is_whole(path, chunk):
        return
    workshop = workshop_in(chunk.folder)
    rows = []
    for index in range(chunk.first, chunk.last):
        made = workshop.make(index)
        rows.append(made.row)
        for name, content in ({} if workshop.spec.identity.lazy else made.files).items():
            file = chunk.folder / name
            if not file.exists() or file.read_bytes() != content:
                write_bytes(file, content)
    write_rows(path, rows)


def _is_whole(part: Path, chunk: _Chunk) -> bool:
    """Return whether a part has all its rows and each map is as its row says."""
    rows = read_rows(part)
    if len(rows) != _size_of(chunk):
        return False
    if not (chunk.folder / "maps").exists():  # lazy
        return True
    files = [(chunk.folder / row.map, row.sha256) for row in rows]
    return all(path.exists() and sha256_of_file(path) == expected for path, expected in files)
