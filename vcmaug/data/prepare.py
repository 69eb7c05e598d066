"""`prepare`: somebody's images and label maps, checked as a whole, onto one grid.

First every file is read and every fault is listed; only a faultless set is written. It leaves
images/, labels/, cases.parquet with cases.csv beside it, and prepare.json.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vcmaug.data.case import IMAGE, LABEL, Case, Measured, files_of
from vcmaug.data.case_table import write_table_of_cases
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import Grid, crop_or_pad, reorient, resample, to_grid
from vcmaug.data.intensity import IntensitySettings, scaled, window_of
from vcmaug.data.labels import LabelScheme, relabelled, volumes_mm3
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume, is_mask, same_grid
from vcmaug.data.way_back import WayBack
from vcmaug.errors import DataError, FaultyDataSet, WorkFolderError
from vcmaug.files import faults_of_names, locked, refuse_overlap, write_json
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions

__all__ = ["DataSettings", "find_cases", "prepare"]

_LAST = "prepare.json"
_OWN = {_LAST, "cases.parquet", ".lock"}  # the last is what a run leaves that was killed


def prepare(settings: DataSettings, out: Path, *, report: Report = silent) -> Cases:
    """Read, check, and write a data set; return its cases.

    Args:
        settings: What to read and how.
        out: Gets images/, labels/, cases.parquet, cases.csv and, last, prepare.json.
        report: Told after every case, in both passes.

    Raises:
        FaultyDataSet: Every fault of the set, each with its case and file; nothing is written.
        WorkFolderError: `out` is in use, holds what is read or lies in it, or is another's.
    """
    _refuse_place(settings, [], out=out)
    scheme, values = settings.label_scheme(), settings.number_of_value()
    faults: list[str] = []
    found = find_cases(settings, faults)
    _refuse_place(settings, found, out=out)
    for number, case in enumerate(found, start=1):
        faults += _faults_of(case, settings, values=values)
        report(Progress("checking cases", number, len(found)))
    if faults:
        raise FaultyDataSet(
            f"preparing {settings.source}",
            faults,
            advice="Nothing was written. Correct or remove these cases and run again.",
        )
    about = {
        "settings": settings.model_dump(mode="json"),
        "scheme": scheme.to_json(),
        "source_values": scheme.source_values,
        "num_cases": len(found),
        "versions": versions(),
    }
    with locked(out, purpose="preparing cases"):
        (out / _LAST).unlink(missing_ok=True)  # of an earlier run, whose files are written over
        cases = []
        for number, case in enumerate(found, start=1):
            cases.append(_write_case(case, settings, scheme=scheme, values=values, out=out))
            report(Progress("preparing cases", number, len(found)))
        write_table_of_cases(out, cases)
        write_json(out / _LAST, about)
    return Cases.open(out)


def _refuse_place(settings: DataSettings, cases: Sequence[Case], *, out: Path) -> None:
    """Refuse to write where the source is, or any file that its reader named, or other files."""
    doing = f"preparing {settings.source}"
    reads = [settings.path, *filter(None, [settings.label_values_file])]
    if cases:
        reads += settings.reader.tables(settings.path)
        reads += files_of(cases)
    folders = [_folder_of(out, name) for name in sorted({n for case in cases for n in case.files})]
    refuse_overlap(doing, writes=[out, *folders], reads=reads)
    if out.is_file():
        raise WorkFolderError(f"{doing}: the output {out} is a file. Name a folder with --out.")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set[str]()
    if names and names.isdisjoint(_OWN):
        raise WorkFolderError(
            f"{doing}: the output {out} holds {min(names)} and no {_LAST}, so its files are not of "
            "`vcmaug prepare`. Choose an empty or new folder with --out."
        )


def _folder_of(out: Path, name: str) -> Path:
    """Return the folder of the prepared files of some name: an image, or `label`."""
    return out / {IMAGE: "images", LABEL: "labels"}.get(name, f"images_{name}")


def find_cases(settings: DataSettings, faults: list[str]) -> list[Case]:
    """Return the cases of a source; what cannot be used is added to `faults`.

    Raises:
        DataError: The source is not there, or its layout is not recognised.
    """
    source, reader = settings.path, settings.reader
    cases = reader.cases(source, faults)
    if not cases and not faults:
        faults.append(f"{source}: no case found in this {reader.name}; expected {reader.expected}")
    counts = Counter(case.case_id for case in cases)
    faults += [f"case {name}: the id stands {n} times" for name, n in counts.items() if n > 1]
    images = {name for case in cases for name in case.images}
    faults += [f"image name {name}: it is kept for label maps" for name in images & {LABEL}]
    faults += faults_of_names("case id", counts)
    faults += faults_of_names("subject id", {case.subject_id for case in cases})
    faults += faults_of_names("image name", images)
    return cases[: settings.max_cases]


def _faults_of(case: Case, settings: DataSettings, *, values: Mapping[int, int]) -> list[str]:
    """Return everything that is wrong with one case; see `prepare` for the arguments."""
    faults: list[str] = []
    image = _read_image(case, case.image, settings, faults)
    for path in case.extra_images.values():
        other = _read_image(case, path, settings, faults)
        if image is not None and other is not None and not same_grid(image, other):
            faults.append(
                f"case {case.case_id}, {path}: shape {other.shape} or affine differ from those "
                f"of {case.image} (shape {image.shape}); register and resample it to that one"
            )
    if case.label is None:
        if settings.require_labels:
            faults.append(f"case {case.case_id}, {case.image}: an image without a label map")
        return faults
    about = f"case {case.case_id}, {case.label}:"
    if not settings.scheme:
        return [*faults, f"{about} a label map, and no structure is named"]
    try:
        label = read_label_map(case.label, case_id=case.case_id)
    except DataError as fault:
        return [*faults, str(fault).rstrip(".")]
    if unknown := sorted(set(np.unique(label.array).tolist()) - {0, *values}):
        faults.append(
            f"{about} label values {unknown[:8]} outside the scheme; known are "
            f"{sorted(values)[:12]}"
        )
    if image is not None and not same_grid(image, label):
        faults.append(
            f"{about} shape {label.shape} and affine differ from its image's (shape {image.shape})"
        )
    return faults


def _read_image(case: Case, path: Path, settings: DataSettings, faults: list[str]) -> Volume | None:
    """Return an image of a case, None if it cannot be read; the first must have a contrast."""
    image = None
    try:
        image = read_image(path, case_id=case.case_id)
        if path == case.image or not is_mask(image):
            window_of(image.array, settings.intensity)
    except DataError as fault:
        text = str(fault).rstrip(".")
        own = text.startswith("case ")
        faults.append(text if own else f"case {case.case_id}, {path}: {text}")
    return image


@dataclass(frozen=True)
class _Written:
    """A file that was written: its path, its hash, and the grey values that became 0 and 1."""

    path: Path
    sha256: str
    window: tuple[float, float] | None = None


def _write_case(
    case: Case,
    settings: DataSettings,
    *,
    scheme: LabelScheme,
    values: Mapping[int, int],
    out: Path,
) -> Case:
    """Write one case and return it as it is then.

    Args:
        case: Checked.
        settings: The grid and the intensities.
        scheme: Of prepared label maps.
        values: Source value -> prepared number.
        out: Gets images/, images_NAME/ and labels/.
    """
    file = f"{case.case_id}.nii.gz"
    native = {name: read_image(path, case_id=case.case_id) for name, path in case.images.items()}
    written = {}
    for name, image in native.items():
        path = _folder_of(out, name) / file
        on_grid, window = _image_on_grid(
            image, settings.grid, settings.intensity, may_be_mask=name != IMAGE
        )
        written[name] = _Written(path, write_image(path, on_grid), window)
    windows = {name: one.window for name, one in written.items() if one.window is not None}
    images = {name: one.path for name, one in written.items()}
    label = measured = None
    if case.label is not None:
        raw = read_label_map(case.label, case_id=case.case_id)
        numbered = Volume(relabelled(raw.array, values), raw.affine)
        label_map, share_outside = _label_on_grid(numbered, settings.grid)
        label = _folder_of(out, LABEL) / file
        written[LABEL] = _Written(label, write_label_map(label, label_map))
        volumes = volumes_mm3(label_map.array, scheme, label_map.spacing_mm)
        measured = Measured(volumes, share_outside)
    told = {"case_id", "subject_id", IMAGE, LABEL, *(measured.columns if measured else ())}
    return Case(
        case_id=case.case_id,
        subject_id=case.subject_id,
        images=images,
        label=label,
        source={name: value for name, value in case.source.items() if name not in told},
        measured=measured,
        sha256={name: one.sha256 for name, one in written.items()},
        way_back=WayBack.of(native[IMAGE], settings.grid, windows=windows),
    )


def _image_on_grid(
    image: Volume, grid: Grid, intensity: IntensitySettings, *, may_be_mask: bool
) -> tuple[Volume, tuple[float, float] | None]:
    """Return one image on the grid, normalised, and the grey values that became 0 and 1.

    A mask stays one: it is resampled like a label map, not normalised, and has no such values.
    """
    if may_be_mask and is_mask(image):
        mask = to_grid(image, grid, is_label=True)
        return Volume(mask.array.astype(np.float32), mask.affine), None
    if intensity.window is not None:  # before the grid, so that it is padded with 0
        inside = Volume(scaled(image.array, intensity.window), image.affine)
        return to_grid(inside, grid, is_label=False), intensity.window
    there = to_grid(image, grid, is_label=False)
    window = window_of(there.array, intensity)
    return Volume(scaled(there.array, window), there.affine), window


def _label_on_grid(label: Volume, grid: Grid) -> tuple[Volume, float]:
    """Return a label map on the grid, and the share of its voxels that the crop leaves out."""
    resampled = resample(reorient(label, grid.orientation), grid.spacing_mm, is_label=True)
    on_grid = crop_or_pad(resampled, grid.shape, padding=grid.padding)
    total = np.count_nonzero(label.array)
    if total == 0:
        return on_grid, 0.0
    kept = np.count_nonzero(crop_or_pad(resampled, grid.shape, padding="zero").array)
    scale = float(np.prod(np.asarray(grid.spacing_mm) / np.asarray(label.spacing_mm)))
    return on_grid, round(max(0.0, 1.0 - kept * scale / total), 4)
