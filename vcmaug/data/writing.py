"""One case onto the grid: its images normalised, its label map numbered, both written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.case import IMAGE, LABEL, Case, Measured
from vcmaug.data.geometry import Grid, crop_or_pad, reorient, resample, to_grid
from vcmaug.data.intensity import scaled, window_of
from vcmaug.data.labels import LabelScheme, volumes_mm3
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume, is_mask
from vcmaug.data.way_back import Window, way_back_of

__all__ = ["write_case"]

_IDENTITY = {"case_id", "subject_id", IMAGE, LABEL}


@dataclass(frozen=True)
class _Written:
    """A file that was written: its path, its hash, and the grey values that became 0 and 1."""

    path: Path
    sha256: str
    window: Window | None = None


def write_case(
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
    native = read_image(case.image, case_id=case.case_id)
    written = {IMAGE: _write_image(case, IMAGE, native, settings=settings, out=out)}
    for name, path in case.extra_images.items():
        further = read_image(path, case_id=case.case_id)
        written[name] = _write_image(case, name, further, settings=settings, out=out)
    windows = {name: one.window for name, one in written.items() if one.window is not None}
    way_back = way_back_of(native, settings.grid, windows=windows)
    images = {name: one.path for name, one in written.items()}
    label = measured = None
    if case.label is not None:
        raw = read_label_map(case.label, case_id=case.case_id)
        numbered = Volume(_numbered(raw.array, values), raw.affine)
        on_grid, share_outside = _label_on_grid(numbered, settings.grid)
        label = out / "labels" / f"{case.case_id}.nii.gz"
        written[LABEL] = _Written(label, write_label_map(label, on_grid))
        volumes = volumes_mm3(on_grid.array, scheme, on_grid.spacing_mm)
        measured = Measured(volumes, share_outside)
    return Case(
        case_id=case.case_id,
        subject_id=case.subject_id,
        images=images,
        label=label,
        source=_source(case, measured),
        measured=measured,
        sha256={name: one.sha256 for name, one in written.items()},
        way_back=way_back,
    )


def _source(case: Case, measured: Measured | None) -> dict[str, object]:
    """Return the source columns of a case, without those that are told of it elsewhere."""
    taken = _IDENTITY | set(measured.columns if measured else {})
    return {str(name): value for name, value in case.source.items() if str(name) not in taken}


def _write_image(
    case: Case, name: str, image: Volume, *, settings: DataSettings, out: Path
) -> _Written:
    """Write one image on the grid, normalised.

    Another image that is a mask stays one: it is resampled like a label map, not normalised.
    """
    folder = "images" if name == IMAGE else f"images_{name}"
    target = out / folder / f"{case.case_id}.nii.gz"
    if name != IMAGE and is_mask(image):
        mask = to_grid(image, settings.grid, is_label=True)
        return _Written(target, write_image(target, _as_float(mask)))
    if settings.intensity.window is not None:  # before the grid, so that it is padded with 0
        window = settings.intensity.window
        inside = Volume(scaled(image.array, window), image.affine)
        there = to_grid(inside, settings.grid, is_label=False)
        return _Written(target, write_image(target, there), window)
    there = to_grid(image, settings.grid, is_label=False)
    window = window_of(there.array, settings.intensity)
    normal = Volume(scaled(there.array, window), there.affine)
    return _Written(target, write_image(target, normal), window)


def _as_float(volume: Volume) -> Volume:
    """Return a volume of float32."""
    return Volume(volume.array.astype(np.float32), volume.affine)


def _numbered(array: NDArray[np.uint16], values: Mapping[int, int]) -> NDArray[np.uint16]:
    """Return a label map of source values in prepared numbers."""
    if all(source == number for source, number in values.items()):
        return array
    lookup = np.zeros(65536, dtype=np.uint16)
    for source, number in values.items():
        lookup[source] = number
    return lookup[array]


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
