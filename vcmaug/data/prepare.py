"""`prepare`: somebody's images and label maps, checked as a whole, onto one grid.

What it is: first every file is read and every fault is listed; only a faultless set is written.
In the flow: the first stage; leaves images/, labels/, cases.csv and prepare.json.
Sources: none.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.data.cases import TABLE, Case, read_cases
from vcmaug.data.geometry import Grid, to_grid
from vcmaug.data.intensity import IntensitySettings, normalise
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.readers import bids, datalist, folder, nnunet, table
from vcmaug.data.readers.raw import RawCase, SourceSettings
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import DataError, FaultyDataSet
from vcmaug.files import read_json, write_json, write_text
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions

__all__ = ["DataSettings", "Prepared", "find_cases", "prepare", "read_prepared"]

_Reader = Callable[[Path, SourceSettings, list[str]], list[RawCase]]
_READERS: dict[str, _Reader] = {
    "folder": folder.read,
    "table": table.read,
    "nnunet": nnunet.read,
    "datalist": datalist.read,
    "bids": bids.read,
}


class DataSettings(SourceSettings):
    """What to read, what its labels mean, and the grid to bring it to."""

    scheme: dict[str, int] = Field(description="structures: name -> value in prepared label maps")
    label_values: dict[int, str] = Field(
        {}, description="source value -> structure, '' for background; empty: as in the scheme"
    )
    label_values_file: str | None = Field(
        None, description="CSV with columns value and structure, instead of label_values"
    )
    grid: Grid
    intensity: IntensitySettings = IntensitySettings()
    require_labels: bool = True
    max_cases: int | None = Field(None, ge=1, description="the first so many, for a quick try")


@dataclass(frozen=True)
class Prepared:
    """A prepared folder: its cases, its scheme, its grid."""

    cases: tuple[Case, ...]
    scheme: LabelScheme
    grid: Grid


def read_prepared(path: Path) -> Prepared:
    """Return what `prepare` left in a folder.

    Raises:
        WorkFolderError: It is not complete.
    """
    cases = read_cases(path)
    about = read_json(path / "prepare.json")
    return Prepared(
        cases=cases,
        scheme=LabelScheme.from_json(about["scheme"]),
        grid=Grid.model_validate(about["settings"]["grid"]),
    )


def prepare(settings: DataSettings, out: Path, *, report: Report = silent) -> pd.DataFrame:
    """Read, check, and write a data set; return its case table.

    Args:
        settings: What to read and how.
        out: Gets images/, labels/, cases.csv and, last, prepare.json.
        report: Told after every case, in both passes.

    Raises:
        FaultyDataSet: Every fault of the set, each with its case and file; nothing is written.
    """
    scheme = _scheme_of(settings)
    values = _value_table(settings, scheme)
    faults: list[str] = []
    cases = find_cases(settings, faults)
    for number, case in enumerate(cases, start=1):
        faults += _faults_of(case, settings, values=values)
        report(Progress("checking cases", number, len(cases)))
    if faults:
        raise FaultyDataSet(
            f"preparing {settings.source}",
            faults,
            advice="Nothing was written. Mend or remove these cases and run again.",
        )
    rows = []
    for number, case in enumerate(cases, start=1):
        rows.append(_write_case(case, settings, scheme=scheme, values=values, out=out))
        report(Progress("preparing cases", number, len(cases)))
    result = pd.DataFrame(rows)
    write_text(out / TABLE, result.to_csv(index=False))
    about = {
        "settings": settings.model_dump(mode="json"),
        "scheme": scheme.to_json(),
        "num_cases": len(rows),
        "versions": versions(),
    }
    write_json(out / "prepare.json", about)
    return result


def find_cases(settings: SourceSettings, faults: list[str]) -> list[RawCase]:
    """Return the raw cases of a source; what cannot be used is added to `faults`.

    Raises:
        DataError: The source is not there, or its layout is not recognised.
    """
    source = Path(settings.source)
    if not source.exists():
        raise DataError(f"preparing {source}: there is no such file or folder.")
    layout = settings.format if settings.format != "auto" else _recognise(source)
    cases = _READERS[layout](source, settings, faults)
    if not cases and not faults:
        hint = f" named like {settings.images}" if layout == "folder" else ""
        faults.append(f"{source}: no case found in this {layout}; expected images{hint}")
    counts = Counter(case.case_id for case in cases)
    faults += [
        f"case {case_id}: the id stands {count} times"
        for case_id, count in counts.items()
        if count > 1
    ]
    return cases[: getattr(settings, "max_cases", None)]


def _recognise(source: Path) -> str:
    """Return the layout of a source."""
    if source.is_file():
        return "datalist" if source.suffix == ".json" else "table"
    if (source / "dataset.json").exists() and (source / "imagesTr").is_dir():
        return "nnunet"
    if (source / "dataset_description.json").exists() or any(source.glob("sub-*/**/anat")):
        return "bids"
    return "folder"


def _scheme_of(settings: DataSettings) -> LabelScheme:
    """Return the scheme; images alone need no structure."""
    if not settings.scheme and not settings.require_labels:
        return LabelScheme(())
    return LabelScheme.from_mapping(settings.scheme)


def _value_table(settings: DataSettings, scheme: LabelScheme) -> dict[int, int]:
    """Return source value -> prepared value; an empty table means that they are the same.

    Raises:
        DataError: A structure is named that the scheme does not have.
    """
    named = dict(settings.label_values)
    if settings.label_values_file is not None:
        path = Path(settings.label_values_file)
        if not path.exists():
            raise DataError(f"reading label values {path}: there is no such file.")
        frame = pd.read_csv(path).fillna("")
        named = {int(v): str(s) for v, s in zip(frame["value"], frame["structure"], strict=True)}
    known = dict(zip(scheme.names, scheme.values, strict=True)) | {"": 0, "background": 0}
    unknown = sorted({name for name in named.values() if name not in known})
    if unknown:
        raise DataError(
            f"reading label values: {', '.join(unknown)} not in the scheme "
            f"({', '.join(scheme.names)})."
        )
    return {value: known[name] for value, name in named.items()}


def _faults_of(case: RawCase, settings: DataSettings, *, values: dict[int, int]) -> list[str]:
    """Return everything that is wrong with one case."""
    faults = []
    image = label = None
    try:
        image = read_image(case.image, case_id=case.case_id)
        normalise(image.array, settings.intensity)
    except DataError as fault:
        faults.append(_with_case(fault, case))
    faults += _faults_of_further(case, image, settings)
    if case.label is None:
        if settings.require_labels:
            faults.append(f"case {case.case_id}, {case.image}: an image without a label map")
        return faults
    if not settings.scheme:
        faults.append(f"case {case.case_id}, {case.label}: a label map, and no structure is named")
        return faults
    try:
        label = read_label_map(case.label, case_id=case.case_id)
    except DataError as fault:
        faults.append(_with_case(fault, case))
    if label is not None:
        allowed = set(values) if values else set(settings.scheme.values())
        unknown = sorted({int(value) for value in np.unique(label.array)} - allowed - {0})
        if unknown:
            faults.append(
                f"case {case.case_id}, {case.label}: label values {unknown[:8]} outside the "
                f"scheme; known are {sorted(allowed)[:12]}"
            )
    if image is not None and label is not None and not same_grid(image, label):
        faults.append(
            f"case {case.case_id}, {case.label}: shape {label.shape} and affine differ from its "
            f"image's (shape {image.shape})"
        )
    return faults


def _faults_of_further(case: RawCase, image: Volume | None, settings: DataSettings) -> list[str]:
    """Return what is wrong with the further images of a case."""
    faults = []
    for path in case.extra_images.values():
        try:
            further = read_image(path, case_id=case.case_id)
            if not _is_mask(further):
                normalise(further.array, settings.intensity)
        except DataError as fault:
            faults.append(_with_case(fault, case, path))
            continue
        if image is not None and not same_grid(image, further):
            faults.append(
                f"case {case.case_id}, {path}: shape {further.shape} or affine differ from those "
                f"of {case.image} (shape {image.shape}); register and resample it to that one"
            )
    return faults


def _is_mask(image: Volume) -> bool:
    """Return whether an image is a mask: of zeros and ones alone."""
    return bool(np.isin(image.array, (0, 1)).all())


def _with_case(fault: DataError, case: RawCase, path: Path | None = None) -> str:
    """Return a fault's text, which names the case."""
    text = str(fault).rstrip(".")
    where = f"case {case.case_id}, {path or case.image}"
    return text if text.startswith("case ") else f"{where}: {text}"


def _write_case(
    case: RawCase,
    settings: DataSettings,
    *,
    scheme: LabelScheme,
    values: dict[int, int],
    out: Path,
) -> dict[str, Any]:
    """Write one case and return its row."""
    row: dict[str, Any] = {"case_id": case.case_id, "subject_id": case.subject_id}
    image = read_image(case.image, case_id=case.case_id)
    row["image"] = _write_image(image, settings, out / "images" / f"{case.case_id}.nii.gz")
    for name, path in case.extra_images.items():
        target = out / f"images_{name}" / f"{case.case_id}.nii.gz"
        further = read_image(path, case_id=case.case_id)
        row[f"image_{name}"] = _write_image(further, settings, target, may_be_mask=True)
    if case.label is not None:
        raw = read_label_map(case.label, case_id=case.case_id)
        mapped = Volume(_mapped(raw.array, values), raw.affine)
        label = to_grid(mapped, settings.grid, is_label=True)
        write_label_map(out / "labels" / f"{case.case_id}.nii.gz", label)
        row["label"] = f"labels/{case.case_id}.nii.gz"
        inside = volumes_mm3(label.array, scheme, label.spacing_mm)
        row |= {f"volume_{name}_mm3": volume for name, volume in inside.items()}
        row["label_share_outside_grid"] = _share_outside(mapped, settings.grid)
    return {**{str(k): v for k, v in case.row.items()}, **row}


def _write_image(
    image: Volume, settings: DataSettings, target: Path, *, may_be_mask: bool = False
) -> str:
    """Write one image on the grid, normalised; return its path relative to the folder.

    A mask, if it may be one, stays one: it is resampled like a label map and not normalised.
    """
    is_mask = may_be_mask and _is_mask(image)
    there = to_grid(image, settings.grid, is_label=is_mask)
    array = there.array if is_mask else normalise(there.array, settings.intensity)
    write_image(target, Volume(array.astype(np.float32), there.affine))
    return f"{target.parent.name}/{target.name}"


def _mapped(array: NDArray[np.uint16], values: dict[int, int]) -> NDArray[np.uint16]:
    """Return a label map in the scheme's values."""
    if not values:
        return array
    lookup = np.zeros(65536, dtype=np.uint16)
    for source, target in values.items():
        lookup[source] = target
    return lookup[array]


def _share_outside(label: Volume, grid: Grid) -> float:
    """Return the share of labelled voxels that a crop to the grid leaves out."""
    total = np.count_nonzero(label.array)
    if total == 0:
        return 0.0
    cropped = Grid(**{**grid.model_dump(), "padding": "zero"})
    kept = np.count_nonzero(to_grid(label, cropped, is_label=True).array)
    scale = float(np.prod(np.asarray(grid.spacing_mm) / np.asarray(label.spacing_mm)))
    return round(max(0.0, 1.0 - kept * scale / total), 4)
