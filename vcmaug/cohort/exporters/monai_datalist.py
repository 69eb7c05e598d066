"""MONAI datalist JSON: {"training": [{"image": ..., "label": ...}, ...]}, for Auto3DSeg and others.

Label maps are written in the user's own values; where these are the numbers of the cohort's own
label maps, and volumes are not asked for on native grids, the list names the cohort's files.

References:
    MONAI's `load_decathlon_datalist`.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.exporter import Exporter, work_folder_of
from vcmaug.cohort.row import ManifestRow
from vcmaug.config import RecipePath
from vcmaug.data.case import IMAGE, Case
from vcmaug.data.cases import Cases
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image, read_label_map, write_grey_values, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import write_json
from vcmaug.progress import Progress, Report

__all__ = ["MonaiDatalist"]


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
        prepared = Cases.open(self._cases(cohort)) if self.native else None
        scheme = prepared.scheme if prepared else cohort.scheme
        parents = {case.case_id: case for case in prepared or ()}
        entries = []
        for number, case in enumerate(cohort, start=1):
            row = cohort.row_of(case)
            host = _host_of(row, parents) if self.native else None
            image, label = _files(case, host, scheme=scheme, folder=_volumes(out))
            entries.append(
                {
                    "image": self._path(image, out.parent),
                    "label": self._path(label, out.parent),
                    "case_id": case.case_id,
                    "subject_id": case.subject_id,
                    "source_subject_ids": row.source_subject_ids,
                    "role": row.role,
                }
            )
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

    def _path(self, path: Path, folder: Path) -> str:
        """Return a path as the list names it."""
        return str(path.resolve()) if self.absolute else os.path.relpath(path, folder)


def _volumes(out: Path) -> Path:
    """Return the folder beside a list for the volumes that are written anew."""
    return out.with_name(f"{out.stem}_volumes")


def _files(
    case: Case, host: Case | None, *, scheme: LabelScheme, folder: Path
) -> tuple[Path, Path]:
    """Return the files of a case that the list names; write those that are not the cohort's.

    Args:
        case: Of the cohort.
        host: On whose native grid they are to be; None: they stay where they are.
        scheme: Knows the user's own values.
        folder: For what is written.
    """
    image, label = case.files.values()
    target = folder / "labels" / f"{case.case_id}.nii.gz"
    if host is None and scheme.source_values in ((), scheme.values):
        return image, label
    drawn = read_label_map(label, case_id=case.case_id)
    if host is None:
        write_label_map(target, Volume(scheme.in_source_values(drawn.array), drawn.affine))
        return image, target
    back, native = host.back(), folder / "images" / target.name
    write_grey_values(native, back.image(read_image(image, case_id=case.case_id), name=IMAGE))
    write_label_map(target, back.label(drawn, scheme=scheme))
    return native, target


def _host_of(row: ManifestRow, parents: dict[str, Case]) -> Case:
    """Return the case that a made one began with.

    Raises:
        CohortError: It is not among the prepared cases.
    """
    host = "".join(row.source_case_ids[:1])
    if host not in parents:
        raise CohortError(
            f"exporting case {row.case_id} on its native grid: its parent {host} is not among the "
            "prepared cases."
        )
    return parents[host]
