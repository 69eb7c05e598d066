"""The embedded population: one real head, deformed at random into as many as are wanted.

Labelled volumes are made from the MNI152 template that the package nilearn carries. They stand in
for a user's data in the demo; `prepare` reads them like any plain folder.

Notes:
    One deformed head is a demonstration, not evidence: every subject is the same brain.
    Tissue: inside the brain mask each voxel takes the largest of the grey matter map, the white
    matter map, and what is left to 1, which is CSF. Ventricles: the connected components of CSF
    deeper than 16 mm under the surface of the brain mask, of more than 60 voxels of 2 mm, grown
    back by one voxel into the CSF around them, that lie within 48 mm of the point (0, -20, 10) mm
    of MNI space, which is between the lateral ventricles.

References:
    Fonov et al. 2011, NeuroImage 54 (ICBM 2009c template), through nilearn.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.affine import shifted
from vcmaug.data.deformation import (
    deform_image,
    deform_label_map,
    draw_velocity,
    integrate,
    upsampled,
)
from vcmaug.data.geometry import Grid, to_grid
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import write_text
from vcmaug.progress import Progress, Report, silent
from vcmaug.seeding import numpy_generator

__all__ = ["TISSUE4", "make_population"]

TISSUE4 = {"csf": 1, "grey_matter": 2, "white_matter": 3, "ventricles": 4}
_CENTRE_MM = (0.0, -20.0, 10.0)
_DEPTH_MM, _REACH_MM, _FEWEST_VOXELS = 16.0, 48.0, 60


def make_population(
    folder: Path, *, num_subjects: int, seed: int, grid: Grid, report: Report = silent
) -> Path:
    """Write a plain folder of labelled volumes and return it.

    Args:
        folder: Gets images/, labels/ and participants.csv.
        num_subjects: How many; subject k does not depend on how many there are.
        seed: Of the population.
        grid: Grid of the volumes.
        report: Told after every subject.

    Raises:
        DataError: nilearn is not installed.
    """
    template = _load_template(grid)
    rows = []
    for number in range(num_subjects):
        subject = f"template{number:03d}"
        image, labels = _draw_subject(*template, numpy_generator(seed, "population", subject))
        write_image(folder / "images" / f"{subject}.nii.gz", image)
        write_label_map(folder / "labels" / f"{subject}.nii.gz", labels)
        rows.append({"case_id": subject, "subject_id": subject})
        report(Progress("making the population", number + 1, num_subjects))
    write_text(folder / "participants.csv", pd.DataFrame(rows).to_csv(index=False))
    return folder


def _load_template(grid: Grid) -> tuple[Volume, Volume]:
    """Return the template, in [0, 1], and its tissues on a grid, cut about the brain."""
    try:
        from nilearn import datasets  # an extra, needed by this function alone
    except ImportError:
        raise DataError(
            "making the embedded population: the package nilearn, which carries the MNI152 "
            "template, is not installed. Run: pip install 'vcmaug[demo]'"
        ) from None
    brain = datasets.load_mni152_template(resolution=2)
    affine = np.asarray(brain.affine, dtype=np.float64)
    grey = np.asarray(datasets.load_mni152_gm_template(resolution=2).dataobj, dtype=np.float32)
    white = np.asarray(datasets.load_mni152_wm_template(resolution=2).dataobj, dtype=np.float32)
    mask = np.asarray(datasets.load_mni152_brain_mask(resolution=2).dataobj) > 0
    image = np.asarray(brain.dataobj, dtype=np.float32) * mask
    labels = _tissues(grey, white, mask=mask, affine=affine)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    placed = shifted(affine, [part.start for part in box])
    return (
        to_grid(Volume(image[box] / image.max(), placed), grid, is_label=False),
        to_grid(Volume(labels[box], placed), grid, is_label=True),
    )


def _tissues(
    grey: NDArray[np.float32],
    white: NDArray[np.float32],
    *,
    mask: NDArray[np.bool_],
    affine: NDArray[np.float64],
) -> NDArray[np.uint16]:
    """Return the four tissues, uint16 [X, Y, Z], of the template's maps; see the module's notes."""
    rest = np.clip(1.0 - grey - white, 0.0, 1.0)
    winners = np.argmax(np.stack([rest, grey, white]), axis=0)
    labels: NDArray[np.uint16] = (winners + 1).astype(np.uint16)
    labels[~mask] = 0
    csf = labels == TISSUE4["csf"]
    depth_mm = ndimage.distance_transform_edt(mask, sampling=np.abs(np.diag(affine)[:3]))
    parts, count = ndimage.label(csf & (depth_mm > _DEPTH_MM))
    to_centre = np.linalg.inv(affine) @ np.array([*_CENTRE_MM, 1.0])
    for part in range(1, count + 1):
        places = np.argwhere(parts == part)
        away_mm = np.abs(np.diag(affine)[:3]) * (places.mean(axis=0) - to_centre[:3])
        if len(places) > _FEWEST_VOXELS and np.linalg.norm(away_mm) < _REACH_MM:
            grown = ndimage.binary_dilation(parts == part) & csf
            labels[grown] = TISSUE4["ventricles"]
    return labels


def _draw_subject(
    image: Volume, labels: Volume, generator: np.random.Generator
) -> tuple[Volume, Volume]:
    """Return a template as one subject: deformed, shaded, and noisy."""
    shape = image.shape
    velocity = draw_velocity(
        shape,
        spacing_mm=image.spacing_mm,
        max_displacement_mm=float(generator.uniform(5.0, 9.0)),
        smoothness_mm=float(generator.uniform(14.0, 22.0)),
        generator=generator,
    )
    velocity = upsampled(velocity, shape)
    velocity += _swelling(labels, amount_mm=float(generator.uniform(1.0, 8.0)))
    displacement = integrate(velocity, shape) + _affine(shape, generator)
    tissues = deform_label_map(labels.array, displacement)
    deformed = deform_image(image.array, displacement)
    acquired = _acquire(deformed, inside=tissues > 0, generator=generator)
    return Volume(acquired, image.affine), Volume(tissues, image.affine)


def _swelling(labels: Volume, *, amount_mm: float) -> NDArray[np.float32]:
    """Return a velocity field [3, X, Y, Z] in voxels that narrows ventricles by about an amount.

    The field points along the gradient of the blurred ventricles: a deformation looks up its source
    at v + displacement, so looking up nearer to the centre makes the centre larger.
    """
    ventricles = (labels.array == TISSUE4["ventricles"]).astype(np.float32)
    sigmas = [8.0 / spacing for spacing in labels.spacing_mm]
    smooth = ndimage.gaussian_filter(ventricles, sigmas)
    slope = np.stack([np.gradient(smooth, axis=axis) for axis in range(3)])
    longest = float(np.sqrt((slope**2).sum(axis=0)).max()) or 1.0
    spacing = np.asarray(labels.spacing_mm, dtype=np.float32).reshape(3, 1, 1, 1)
    return (-amount_mm * slope / longest / spacing).astype(np.float32)


def _affine(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float32]:
    """Return the displacement [3, X, Y, Z] in voxels of a small rotation and scaling."""
    angles = generator.uniform(-0.08, 0.08, 3)  # radians
    scales = generator.uniform(1.04, 1.14, 3)  # above 1 shrinks: the template is a large brain
    rotation = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    centre = (np.asarray(shape) - 1) / 2
    places = np.stack(np.meshgrid(*[np.arange(size) for size in shape], indexing="ij"))
    offsets = places - centre.reshape(3, 1, 1, 1)  # [3, X, Y, Z]
    change = rotation @ np.diag(scales) - np.eye(3)
    moved: NDArray[np.float32] = np.einsum("ij,jxyz->ixyz", change, offsets).astype(np.float32)
    return moved


def _acquire(
    image: NDArray[np.float32], *, inside: NDArray[Any], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return the image with a bias field, another gamma, and noise; zero outside the brain."""
    bias = generator.standard_normal(image.shape).astype(np.float32)
    bias = ndimage.gaussian_filter(bias, np.asarray(image.shape) / 5.0)
    bias *= float(generator.uniform(0.05, 0.2)) / max(float(bias.std()), 1e-6)
    shaded = np.clip(image, 0.0, None) ** float(generator.uniform(0.8, 1.25)) * np.exp(bias)
    noise = generator.normal(0.0, float(generator.uniform(0.01, 0.03)), image.shape)
    noisy = np.clip(shaded + noise, 0.0, None) * inside
    scaled: NDArray[np.float32] = (noisy / max(float(noisy.max()), 1e-6)).astype(np.float32)
    return scaled
