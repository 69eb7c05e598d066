"""`prepare`: somebody's images and label maps, checked as a whole, onto one grid.

First every case is brought onto the grid in memory and every fault is listed; only a faultless set
is written, and on the way nothing but a case at a time is held. It leaves
images/, labels/, cases.parquet with cases.csv beside it, and prepare.json.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vcmaug.data.case import IMAGE, LABEL, Case, Measured, files_of
from vcmaug.data.case_table import write_table_of_cases
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import share_outside, start_of, to_grid
from vcmaug.data.intensity import scaled, window_of
from vcmaug.data.labels import LabelScheme, relabelled, volumes_mm3
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.source import DataSettings
from vcmaug.data.splits import SplitSettings, split_faults
from vcmaug.data.subjects import copy_faults, people_faults
from vcmaug.data.volume import Volume, is_mask, other_grid
from vcmaug.data.way_back import WayBack
from vcmaug.errors import DataError, FaultyDataSet, WorkFolderError
from vcmaug.files import locked, write_json
from vcmaug.outputs import faults_of_names, refuse_overlap
from vcmaug.progress import Progress, Report, silent
from vcmaug.provenance import versions
from vcmaug.shapes import Shape3

__all__ = ["DataSettings", "find_cases", "prepare"]

_LAST = "prepare.json"
_OWN = {_LAST, "cases.parquet", ".lock"}  # the last is what a run leaves that was killed


def prepare(
    settings: DataSettings,
    out: Path,
    *,
    splits: SplitSettings | None = None,
    report: Report = silent,
) -> Cases:
    """Read, check, and write a data set; return its cases.

    Args:
        settings: What to read and how.
        out: Gets images/, labels/, cases.parquet, cases.csv and, last, prepare.json.
        splits: How the subjects will be split; that they can be is checked with all else.
        report: Told after every case, in both passes, and of files of an earlier run that belong to
            no case.

    Raises:
        FaultyDataSet: Every fault of the set, each with its case and file; nothing is written.
        WorkFolderError: `out` is in use, holds what is read or lies in it, or is another's.
    """
    _refuse_place(settings, [], out=out)
    of_earlier_run = [*out.glob(_LAST), *out.glob("*/.*.tmp")]
    preparation = _Preparation(settings, settings.label_scheme(), settings.number_of_value())
    faults: list[str] = []
    found = find_cases(settings, faults, splits=splits)
    _refuse_place(settings, found, out=out)
    for number, case in enumerate(found, start=1):
        preparation.on_grid(case, faults)
        report(Progress("checking cases", number, len(found)))
    if faults:
        raise _faulty(settings, faults)
    about = {
        "settings": settings.model_dump(mode="json"),
        "scheme": preparation.scheme.to_json(),
        "source_values": preparation.scheme.source_values,
        "num_cases": len(found),
        "versions": versions(),
    }
    with locked(out, purpose="preparing cases", together=True):
        for path in of_earlier_run:  # until all is written, the folder is not whole
            path.unlink(missing_ok=True)
        cases = []
        for number, case in enumerate(found, start=1):
            there = preparation.on_grid(case, faults)
            if there is None:
                raise _faulty(settings, faults)
            cases.append(_write_case(case, there, out=out))
            report(Progress("preparing cases", number, len(found)))
        write_table_of_cases(out, cases)
        write_json(out / _LAST, about)
    if others := {*out.glob("images*/*"), *out.glob("labels/*")} - set(files_of(cases)):
        note = f"{len(others)} files of an earlier run are of no case, e.g. {min(others)}"
        report(Progress("preparing cases", len(found), len(found), f"{note}; remove them"))
    return Cases.open(out)


def _refuse_place(settings: DataSettings, cases: Sequence[Case], *, out: Path) -> None:
    """Refuse to write where the source is, or any file that its reader named, or other files."""
    doing = f"preparing {settings.source}"
    if settings.source.encode(errors="replace").decode() != settings.source:
        raise WorkFolderError(f"{doing}: its path is not UTF-8. Rename its folder or file.")
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


def find_cases(
    settings: DataSettings, faults: list[str], *, splits: SplitSettings | None = None
) -> list[Case]:
    """Return the cases of a source.

    Args:
        settings: Where they are.
        faults: Gets a sentence for everything that cannot be used.
        splits: How the subjects will be split; None: they will not.

    Raises:
        DataError: The source is not there, or its layout is not recognised.
    """
    source, reader = settings.path, settings.reader
    cases = reader.cases(source, faults)
    if not cases and not faults:
        faults.append(f"{source}: no case found in this {reader.name}; expected {reader.expected}")
    counts = Counter(case.case_id for case in cases)
    faults += [
        f"case {name}, {source}: the id stands {n} times, expected once; rename the others"
        for name, n in counts.items()
        if n > 1
    ]
    faults += people_faults(cases)
    others = [case for case in cases if case.subject_id != case.case_id]
    images = {name: path for case in cases for name, path in case.images.items()}
    if LABEL in images:
        faults.append(
            f"image name {LABEL!r}, {images[LABEL]}: the name of label maps; expected another one"
        )
    faults += faults_of_names("case id", {case.case_id: case.image for case in cases})
    faults += faults_of_names("subject id", {case.subject_id: case.image for case in others})
    faults += faults_of_names("image name", images)
    chosen = cases[: settings.max_cases]
    if splits is not None and chosen:
        labelled = {case.subject_id for case in chosen if case.label is not None}
        subjects = {case.subject_id for case in chosen}
        faults += split_faults(splits, subjects, unlabelled=subjects - labelled)
    return chosen


def _faulty(settings: DataSettings, faults: Sequence[str]) -> FaultyDataSet:
    """Return the error for the faults of a data set."""
    advice = "Nothing was written. Correct or remove these cases and run again."
    return FaultyDataSet(f"preparing {settings.source}", faults, advice=advice)


@dataclass(frozen=True)
class _OnGrid:
    """A case on the grid, in memory.

    Attributes:
        images: By name, normalised.
        label: Channel numbers.
        measured: Of the label map.
        way_back: To its native grid and grey values.
    """

    images: Mapping[str, Volume]
    label: Volume | None
    measured: Measured | None
    way_back: WayBack


@dataclass(frozen=True)
class _Preparation:
    """Brings cases onto the grid.

    Attributes:
        settings: How.
        scheme: Of prepared label maps.
        values: Source value -> channel number.
        first_with: Hash of the voxels of an image -> the first case that has it.
    """

    settings: DataSettings
    scheme: LabelScheme
    values: Mapping[int, int]
    first_with: dict[str, Case] = field(default_factory=dict)

    def on_grid(self, case: Case, faults: list[str]) -> _OnGrid | None:
        """Return a case as it will be written.

        Args:
            case: As a reader lists it.
            faults: Gets everything that is wrong with it; the result is None then.
        """
        before = len(faults)
        native = {name: self._native_image(case, name, faults) for name in case.images}
        first = native[IMAGE]
        if first is not None:
            faults += copy_faults(first, case, self.first_with)
        label = self._native_label(case, faults)
        if first is None:
            return None
        start = start_of(first, self.settings.grid)
        images, windows = dict[str, Volume](), dict[str, tuple[float, float]]()
        for name, image in native.items():
            if image is not None and (placed := _placed(image, first, case, name, faults)):
                images[name], window = self._image(placed, start, may_be_mask=name != IMAGE)
                windows |= {} if window is None else {name: window}
                _check_contrast(images[name], case, name, faults)
        on_grid = measured = None
        if label is not None and (placed := _placed(label, first, case, LABEL, faults)):
            on_grid = to_grid(placed, self.settings.grid, is_label=True, start=start)
            measured = self._measured(placed, on_grid, case, faults)
        way_back = WayBack.of(first, self.settings.grid, windows=windows, start=start)
        there = _OnGrid(images, on_grid, measured, way_back)
        return there if len(faults) == before else None

    def _native_image(self, case: Case, name: str, faults: list[str]) -> Volume | None:
        """Return an image of a case, None if it cannot be read; the first must have a contrast."""
        path = case.images[name]
        try:
            image = read_image(path, case_id=case.case_id)
            if name == IMAGE or not is_mask(image):
                window_of(image.array, self.settings.intensity)
        except DataError as fault:
            text = str(fault).rstrip(".")
            own = text.startswith("case ")
            faults.append(text if own else f"case {case.case_id}, {path}: {text}")
            return None
        return image

    def _native_label(self, case: Case, faults: list[str]) -> Volume | None:
        """Return the label map of a case in channel numbers; None if it has none to be used."""
        if case.label is None:
            if self.settings.require_labels:
                faults.append(
                    f"case {case.case_id}, {case.image}: an image without a label map, expected "
                    "one; add it, or allow images alone (require_labels: false)"
                )
            return None
        about = f"case {case.case_id}, {case.label}:"
        if not self.settings.scheme:
            faults.append(f"{about} a label map, and no structure is named")
            return None
        try:
            label = read_label_map(case.label, case_id=case.case_id)
        except DataError as fault:
            faults.append(str(fault).rstrip("."))
            return None
        if unknown := sorted(set(np.unique(label.array).tolist()) - {0, *self.values}):
            faults.append(
                f"{about} label values {unknown[:8]} outside the scheme, expected 0 and "
                f"{sorted(self.values)[:12]}; add them to the scheme, or to label_values with '' "
                "for background"
            )
        return Volume(relabelled(label.array, self.values), label.affine)

    def _image(
        self, image: Volume, start: Shape3, *, may_be_mask: bool
    ) -> tuple[Volume, tuple[float, float] | None]:
        """Return one image on the grid, normalised, and the grey values that became 0 and 1.

        The window is that of the file's own voxels, applied before the grid: what is padded is 0.
        A mask stays one: it is resampled like a label map and has no such values.
        """
        if may_be_mask and is_mask(image):
            mask = to_grid(image, self.settings.grid, is_label=True, start=start)
            return Volume(mask.array.astype(np.float32), mask.affine), None
        window = window_of(image.array, self.settings.intensity)
        normalised = Volume(scaled(image.array, window), image.affine)
        return to_grid(normalised, self.settings.grid, is_label=False, start=start), window

    def _measured(self, native: Volume, there: Volume, case: Case, faults: list[str]) -> Measured:
        """Return volumes and the share outside the grid; a structure that is lost is a fault."""
        about = f"case {case.case_id}, {case.label}:"
        before = volumes_mm3(native.array, self.scheme, native.spacing_mm)
        after = volumes_mm3(there.array, self.scheme, there.spacing_mm)
        faults += [
            f"{about} {name}, {volume_mm3:.3g} mm3, has no voxel left on the grid of "
            f"{there.grid_in_words}, expected some; take a finer or larger grid, or leave the case "
            "out"
            for name, volume_mm3 in before.items()
            if volume_mm3 > 0 and after[name] == 0
        ]
        return Measured(after, share_outside(native, there))


def _placed(
    volume: Volume, image: Volume, case: Case, name: str, faults: list[str]
) -> Volume | None:
    """Return a volume of a case with the affine of its first image; None if the grids differ."""
    if differs := other_grid(volume, than=image):
        faults.append(
            f"case {case.case_id}, {case.files[name]}: not on the grid of {case.image}: {differs}; "
            "register and resample it to that image"
        )
        return None
    return Volume(volume.array, image.affine)


def _check_contrast(image: Volume, case: Case, name: str, faults: list[str]) -> None:
    """Add a fault where nothing of an image is left on the grid."""
    if image.array.min() == image.array.max():
        faults.append(
            f"case {case.case_id}, {case.images[name]}: every voxel is {image.array.flat[0]:g} on "
            "the grid, expected an image; take a grid that holds what it shows"
        )


def _write_case(case: Case, there: _OnGrid, *, out: Path) -> Case:
    """Write one case and return it as it is then.

    Args:
        case: As a reader lists it.
        there: On the grid.
        out: Gets images/, images_NAME/ and labels/.
    """
    file = f"{case.case_id}.nii.gz"
    images = {name: _folder_of(out, name) / file for name in case.images}
    sha256 = {name: write_image(path, there.images[name]) for name, path in images.items()}
    label = None
    if there.label is not None:
        label = _folder_of(out, LABEL) / file
        sha256[LABEL] = write_label_map(label, there.label)
    told = {"case_id", "subject_id", IMAGE, LABEL}
    told |= set(there.measured.columns if there.measured else ())
    return Case(
        case_id=case.case_id,
        subject_id=case.subject_id,
        images=images,
        label=label,
        source={name: value for name, value in case.source.items() if name not in told},
        measured=there.measured,
        sha256=sha256,
        way_back=there.way_back,
    )
