"""MONAI datalist JSON: {"training": [{"image": ..., "label": ...}, ...]}, for Auto3DSeg and others.

Label maps are written in the user's own values; where these are the numbers of the cohort's own
label maps, and volumes are not asked for on native grids, the list names the cohort's files.

References:
    MONAI's `load_decathlon_datalist`.
"""

import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.exporter import Exporter, work_folder_of
from vcmaug.config import RecipePath
from vcmaug.data.case import Case
from vcmaug.data.cases import Cases
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map, write_grey_values, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.data.way_back import native_of
from vcmaug.errors import CohortError
from vcmaug.files import write_json
from vcmaug.progress import Progress, Report

__all__ = ["MonaiDatalist"]


class _Pair(NamedTuple):
    """The files of a case that the list names."""

    image: Path
    label: Path


class MonaiDatalist(Exporter):
    """A JSON file that lists every case, and volumes beside it where they are written anew."""

    name: Literal["monai_datalist"] = "monai_datalist"
    absolute: bool = Field(False, description="absolute paths; otherwise relative to the list")
    native: bool = Field(
        False, description="volumes on the native grid of their parent, in its grey values"
    )
    cases: RecipePath | None = Field(
        None,
        description="prepared cases that the parents are of, for `native`; none: the work folder's",
    )

    def written(self, out: Path) -> list[Path]:
        """Return the list and the folder of volumes beside it."""
        return [out, _volumes(out)]

    def sources(self, cohort: Cohort) -> list[Path]:
        """Return the folder of the parents."""
        return [self._cases(cohort)] if self.native else []

    def write(self, cohort: Cohort, out: Path, *, report: Report) -> Path:
        """Write volumes where they differ from the cohort's, then the list."""
        scheme = cohort.scheme
        parents: dict[str, Case] = {}
        if self.native:
            prepared = Cases.open(self._cases(cohort))
            scheme = prepared.scheme
            parents = {case.case_id: case for case in prepared}
        entries = []
        for number, case in enumerate(cohort, start=1):
            files = self._files(case, cohort, parents, scheme=scheme, folder=_volumes(out))
            entries.append(self._entry(case, cohort, files, folder=out.parent))
            report(Progress("exporting", number, len(cohort)))
        values = scheme.source_values or scheme.values
        names = {str(value): name for value, name in zip(values, scheme.names, strict=True)}
        write_json(out, {"labels": {"0": "background", **names}, "training": entries})
        return out

    def _cases(self, cohort: Cohort) -> Path:
        """Return the folder of the prepared cases that the parents are of."""
        if self.cases is not None:
            return self.cases
        work = work_folder_of(cohort)
        if work is None:
            raise CohortError(
                f"exporting {cohort.folder} on native grids: it lies in no work folder. Name the "
                "folder of the prepared cases that its parents are of (cases)."
            )
        return work / "cases"

    def _files(
        self,
        case: Case,
        cohort: Cohort,
        parents: dict[str, Case],
        *,
        scheme: LabelScheme,
        folder: Path,
    ) -> _Pair:
        """Return the files of a case that the list names; write those that are not the cohort's."""
        image, label = (folder / kind / f"{case.case_id}.nii.gz" for kind in ("images", "labels"))
        if self.native:
            drawn, parent = _read(case), _host_of(case, cohort, parents)
            native = native_of(parent, *drawn, scheme=scheme)
            write_grey_values(image, native[0])
            write_label_map(label, native[1])
            return _Pair(image, label)
        own = _Pair(*case.files.values())
        if scheme.source_values in ((), scheme.values):
            return own
        drawn_label = _read(case)[1]
        values = scheme.in_source_values(drawn_label.array)
        write_label_map(label, Volume(values, drawn_label.affine))
        return _Pair(own.image, label)

    def _entry(self, case: Case, cohort: Cohort, files: _Pair, *, folder: Path) -> dict[str, Any]:
        """Return what the list says of a case."""
        row = cohort.row_of(case)
        return {
            "image": self._path(files.image, folder),
            "label": self._path(files.label, folder),
            "case_id": case.case_id,
            "subject_id": case.subject_id,
            "source_subject_ids": list(row.source_subject_ids),
            "role": row.role,
        }

    def _path(self, path: Path, folder: Path) -> str:
        """Return a path as the list names it."""
        return str(path.resolve()) if self.absolute else os.path.relpath(path, folder)


def _volumes(out: Path) -> Path:
    """Return the folder beside a list for the volumes that are written anew."""
    return out.with_name(f"{out.stem}_volumes")


def _read(case: Case) -> tuple[Volume, Volume]:
    """Return image and label map of a case."""
    image, label = case.files.values()
    return read_image(image, case_id=case.case_id), read_label_map(label, case_id=case.case_id)


def _host_of(case: Case, cohort: Cohort, parents: dict[str, Case]) -> Case:
    """Return the case that a made one began with.

    Raises:
        CohortError: It is not among the prepared cases.
    """
    names = cohort.row_of(case).source_case_ids
    if not names or names[0] not in parents:
        raise CohortError(
            f"exporting case {case.case_id} on its native grid: its parent {' '.join(names[:1])} "
            "is not among the prepared cases."
        )
    return parents[names[0]]
