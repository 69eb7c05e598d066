"""Where the header of a file places its voxels, in millimetres, and whether it can be believed.

`nifti` asks here for the affine of every file that it reads. A header that contradicts itself is
refused: other programs would take the other half of it and place the same voxels elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vcmaug.affine import Affine, affine_of, apart_mm, moved_points, spacing_of
from vcmaug.errors import DataError
from vcmaug.shapes import Shape3

__all__ = ["Header", "affine_in"]

_UNITS = {0: (1.0, "no unit"), 1: (1000.0, "metres"), 2: (1.0, "mm"), 3: (0.001, "microns")}
"""Code of the unit of length -> in mm, in words; all programs take none for mm."""
_LEAST_MM, _MOST_MM = 1e-4, 200.0
_SKEWED = 0.1
"""Share of a voxel's shortest side by which shear may move the volume's corners."""


@dataclass(frozen=True)
class Header:
    """What a file says of its place.

    Attributes:
        affine: The one that is used, in the header's unit.
        forms: All that have a code, in that unit: sform, qform.
        sides: The voxel size that stands beside them, in that unit; empty where there is none.
        unit: Code of the unit of length.
    """

    affine: Affine
    forms: Sequence[Affine]
    sides: Sequence[float] = ()
    unit: int = 2


def affine_in(header: Header, shape: Shape3) -> Affine:
    """Return the affine of a file, voxel index -> RAS+ mm.

    Args:
        header: Of the file.
        shape: Of its voxels in space.

    Raises:
        DataError: The header knows no orientation, has two that differ, has an unknown unit, a
            voxel size that no image has or that is not the affine's, axes that are not at right
            angles, or an affine that cannot be inverted.
    """
    if header.unit not in _UNITS:
        raise DataError(f"its unit of length has code {header.unit}, expected 1, 2 (mm), 3 or none")
    to_mm, unit = _UNITS[header.unit]
    affine = affine_of(to_mm * header.affine[:3, :3], to_mm * header.affine[:3, 3])
    _check_size(affine, unit)
    _check_right_angles(affine, shape)
    _check_forms(header.forms, shape)
    _check_sides(header, shape)
    return affine


def _check_size(affine: Affine, unit: str) -> None:
    """Refuse an affine without an inverse, and voxels that no image has."""
    sides = np.asarray(spacing_of(affine))
    usable = np.isfinite(affine).all() and sides.min() > 0
    if not usable or abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:  # 1 at right angles
        raise DataError(
            "its affine has determinant zero, expected one that places it; export the file again"
        )
    if sides.min() < _LEAST_MM or sides.max() > _MOST_MM:
        large = " x ".join(f"{side:.4g}" for side in sides)
        raise DataError(
            f"its voxels are {large} mm large (its header says {unit}), expected {_LEAST_MM:g} to "
            f"{_MOST_MM:g} mm; correct the unit or the affine"
        )


def _check_right_angles(affine: Affine, shape: Shape3) -> None:
    """Refuse shear: no voxel size and no quaternion describes such a grid."""
    sides = np.asarray(spacing_of(affine))
    directions = affine[:3, :3] / sides
    left, _, right = np.linalg.svd(directions)
    upright = (left @ right) * sides  # the nearest axes at right angles
    middle = (np.asarray(shape, dtype=np.float64) - 1) / 2
    about_middle = affine_of(upright, moved_points(affine, middle) - upright @ middle)
    if apart_mm(affine, about_middle, shape) <= _SKEWED * sides.min():
        return
    cosine = float(np.abs(directions.T @ directions - np.eye(3)).max())
    raise DataError(
        f"its affine is sheared: two axes meet at {math.degrees(math.acos(min(1.0, cosine))):.3g} "
        "degrees, expected 90 (a tilted gantry, or a registration written into the header); "
        "resample it to a grid without shear, and its label map alike"
    )


def _check_forms(forms: Sequence[Affine], shape: Shape3) -> None:
    """Refuse a header without orientation, and one with two that differ by more than a voxel."""
    if not forms:
        raise DataError(
            "its header knows no orientation (sform and qform have code 0), so which side is left "
            "is a guess; expected a code above 0. Write the affine that is known to be right, e.g. "
            "with nibabel: image.set_sform(affine, code=1)"
        )
    apart = apart_mm(forms[0], forms[-1], shape) / min(spacing_of(forms[0]))
    if apart > 1.0:
        raise DataError(
            f"its sform and its qform place its corners up to {apart:.3g} voxels apart, expected "
            "at most 1; write the one that is right into both, e.g. with `fslorient "
            "-copysform2qform` or `fslorient -copyqform2sform`"
        )


def _check_sides(header: Header, shape: Shape3) -> None:
    """Refuse a voxel size from which the affine's is more than a voxel off over the volume.

    Ones are what a size that nobody set is read as.
    """
    sides = np.asarray(spacing_of(header.affine))
    given = np.asarray(header.sides or sides)
    apart = np.abs(given - sides) * (np.asarray(shape) - 1) / sides
    if apart.max() > 1 and not np.all(given == 1):
        said, used = (" x ".join(f"{side:.4g}" for side in both) for both in (given, sides))
        raise DataError(
            f"its header gives a voxel size of {said} (pixdim) and its affine one of {used}, "
            "expected the same; write the right one into both"
        )
