"""Where the header of a file places its voxels, in millimetres, and whether it can be believed.

`nifti` asks here for the affine of every file that it reads. A header that contradicts itself is
refused: other programs would take the other half of it and place the same voxels elsewhere.
"""

import math

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from vcmaug.affine import Affine, affine_of, apart_mm, moved_points, spacing_of
from vcmaug.errors import DataError
from vcmaug.shapes import Shape3

__all__ = ["affine_in_header"]

_UNITS = {0: (1.0, "no unit"), 1: (1000.0, "metres"), 2: (1.0, "mm"), 3: (0.001, "microns")}
"""Code of the unit of length -> in mm, in words; all programs take none for mm."""
_LEAST_MM, _MOST_MM = 1e-4, 200.0
_SKEWED = 0.1
"""Share of a voxel's shortest side by which shear may move the volume's corners."""


def affine_in_header(image: SpatialImage, shape: Shape3) -> Affine:
    """Return the affine of an image, voxel index -> RAS+ mm.

    Args:
        image: As nibabel loads it.
        shape: Of its voxels in space.

    Raises:
        DataError: The header knows no orientation, has two that differ, has an unknown unit, a
            voxel size that no image has, axes that are not at right angles, or an affine that
            cannot be inverted.
    """
    to_mm, unit = _unit(image)
    affine = affine_of(to_mm * image.affine[:3, :3], to_mm * image.affine[:3, 3])
    _check_size(affine, unit)
    _check_right_angles(affine, shape)
    _check_forms(image, shape)
    return affine


def _unit(image: SpatialImage) -> tuple[float, str]:
    """Return the unit of length of a header, in mm and in words."""
    if not isinstance(image, nib.Nifti1Pair):
        return 1.0, "mm"
    code = int(image.header["xyzt_units"]) & 7
    if code not in _UNITS:
        raise DataError(f"its unit of length has code {code}, expected 1, 2 (mm), 3 or none")
    return _UNITS[code]


def _check_size(affine: Affine, unit: str) -> None:
    """Refuse an affine without an inverse, and voxels that no image has."""
    sides = np.asarray(spacing_of(affine))
    usable = np.isfinite(affine).all() and sides.min() > 0
    if not usable or abs(np.linalg.det(affine[:3, :3] / sides)) < 1e-3:  # 1 at right angles
        raise DataError("its affine has determinant zero, expected one that places it")
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


def _check_forms(image: SpatialImage, shape: Shape3) -> None:
    """Refuse a header without orientation, and one with two that differ by more than a voxel."""
    if not isinstance(image, nib.AnalyzeImage):  # NIfTI is one; others always have an affine
        return
    forms = _forms(image) if isinstance(image, nib.Nifti1Pair) else []
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


def _forms(image: "nib.Nifti1Pair") -> list[Affine]:
    """Return the affines of a NIfTI header that have a code."""
    try:
        known = image.get_sform(coded=True), image.get_qform(coded=True)
    except ValueError as error:
        raise DataError(f"its qform is no rotation ({error})") from None
    return [form for form, code in known if code > 0]
