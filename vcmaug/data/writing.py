"""One case onto the grid: its images normalised, its label map numbered, both written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vcmaug.data.case import IMAGE, LABEL, Case, Measured
from vcmaug.data.geometry import Grid, crop_or_pad, reorient, resample, to_grid
from vcmaug.data.intensity import IntensitySettings, scaled, window_of
from vcmaug.data.labels import LabelScheme, relabelled, volumes_mm3
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume, is_mask
from vcmaug.data.way_back import WayBack

__all__ = ["write_case"]


@dataclass(frozen=True)
class _Written:
    """A file that was written: its path, its hash, and the grey values that became 0 and 1."""

    path: Path
    sha256: str
    window: tuple[float, float] | None = None


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
    file = f"{case.case_id}.nii.gz"
    native = {name: read_image(path, case_id=case.case_id) for name, path in case.images.items()}
    written = {}
    for name, image in native.items():
        path = out / ("images" if name == IMAGE else f"images_{name}") / file
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
        label = out / "labels" / file
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
