"""Exporters: a finished cohort in the layout that another tool reads; a part for each layout.

Every exporter passes the same door: a cohort that has to do with held-out subjects is refused, and
nothing is written into the folders that the volumes come from.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, final

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.case import files_of
from vcmaug.data.splits import Splits, read_splits
from vcmaug.errors import CohortError, LeakError, list_faults
from vcmaug.files import locked_file
from vcmaug.outputs import refuse_overlap
from vcmaug.parts import Part
from vcmaug.progress import Report, silent

__all__ = ["Exporter", "work_folder_of"]

_OF_WORK_FOLDER = ("recipe.json", "splits.json")
_HELD_OUT = ("validation", "test")


class Exporter(Part):
    """The family of exporters; a new layout is one file with one part."""

    family: ClassVar[str] = "exporter"
    home: ClassVar[str] = "vcmaug.cohort.exporters"

    @final
    def export(
        self, cohort: Cohort, out: Path, *, splits: Splits | None = None, report: Report = silent
    ) -> Path:
        """Write a cohort in this layout and return the file or folder to read.

        Args:
            cohort: A finished one.
            out: The file or folder.
            splits: Of the study that its parents belong to; None: those of the work folder in which
                it lies. Without either the roles in the manifest alone are asked.
            report: Told after every case that is written.

        Raises:
            LeakError: A held-out subject is a parent of a case, or was seen by prior, control or
                conditions; all are named.
            CohortError: No case is finished.
            WorkFolderError: What is written would lie in a folder that is read, or hold one, or
                another export writes it.
        """
        if not cohort.cases:
            raise CohortError(f"exporting {cohort.folder}: no case is finished.")
        work = work_folder_of(cohort)
        if splits is None and work is not None:
            splits = read_splits(work / "splits.json")
        _refuse_leaks(cohort, splits)
        reads = [cohort.folder, *files_of(cohort), *self.sources(cohort)]
        reads += [work / name for name in _OF_WORK_FOLDER] if work is not None else []
        refuse_overlap(f"exporting {cohort.folder}", writes=self.written(out), reads=reads)
        with locked_file(out, purpose=f"exporting to {out.name}"):
            return self.write(cohort, out, report=report)

    def written(self, out: Path) -> list[Path]:
        """Return the files and folders that it writes."""
        return [out]

    def sources(self, cohort: Cohort) -> list[Path]:
        """Return the folders that it reads besides the cohort's own."""
        return []

    @abstractmethod
    def write(self, cohort: Cohort, out: Path, *, report: Report) -> Path:
        """Write the cohort and return the file or folder to read; refusals are behind it."""


def work_folder_of(cohort: Cohort) -> Path | None:
    """Return the work folder in which a cohort lies, if it lies in one."""
    above = cohort.folder.resolve().parents
    return next(
        (one for one in above if all((one / name).exists() for name in _OF_WORK_FOLDER)), None
    )


def _refuse_leaks(cohort: Cohort, splits: Splits | None) -> None:
    """Refuse a cohort that held-out subjects have had a part in."""
    roles = {} if splits is None else splits.roles
    held_out = {subject for subject, role in roles.items() if role in _HELD_OUT}
    faults = [
        f"case {row.case_id}: its parents are of {row.role}"
        for row in cohort.rows
        if row.role in _HELD_OUT
    ]
    faults += [
        f"case {row.case_id}: its parent {subject} is of {roles[subject]}"
        for row in cohort.rows
        for subject in sorted(held_out.intersection(row.source_subject_ids))
    ]
    faults += [
        f"subject {subject} of {roles[subject]} was seen by the {what}"
        for what, seen in cohort.card.seen.roles.items()
        for subject in sorted(held_out.intersection(seen.subjects if seen else ()))
    ]
    if faults:
        raise LeakError(
            list_faults(
                f"exporting {cohort.folder}",
                faults,
                advice="Make a cohort of training subjects; who trains on this one has seen them.",
            )
        )
