"""Registration of one head to another, kept as a small file of displacements in millimetres.

SimpleITK registers, affine and then B-spline, and the result is kept as displacements on a coarse
lattice. It brings the lesions of an atlas into hosts in their native pose; a rigid alignment brings
the maps that a shape model learns from into one pose.

Notes:
    SimpleITK's world is LPS+, ours is RAS+: the first two coordinates change sign on the way.
    One thread and a fixed seed, so that the same two images give the same result. The thread count
    of a registration alone is not enough: its metric goes by that of the process.

References:
    Mattes et al. 2003, IEEE TMI (mutual information of sampled intensities, B-splines); Lowekamp
    et al. 2013, Front Neuroinform (SimpleITK); Vercauteren et al. 2009, Neuroimage 45
    (diffeomorphic demons).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its users' own name for it
from numpy.typing import NDArray
from scipy import ndimage

from vcmaug.affine import affine_of, moved_points
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import write_bytes

__all__ = ["Registration", "carried_over", "register", "rigid_between"]

_STEP_MM = 5.0
_SPLINE_MM = 30.0  # between the knots of the B-spline
_DEMONS = 100  # iterations
_DEMONS_SMOOTH = 0.7  # voxels; on young heads 1.0 carries ventricles over with 0.05 less Dice
_TO_LPS = np.array([-1.0, -1.0, 1.0])
_LEAST_CORRELATION = 0.3  # of fixed and moved image inside the fixed head; below it nothing fits


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let SimpleITK work in one thread within the context."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@dataclass(frozen=True)
class Registration:
    """From millimetres of one head to millimetres of another, RAS+.

    Attributes:
        origin_mm: Of the lattice, [3].
        step_mm: Between its nodes, along the axes of the world.
        displacement_mm: At its nodes, float32 [3, a, b, c]; linear between, constant beyond.
        correlation: Of the two images after registration, inside the fixed head.
    """

    origin_mm: NDArray[np.float64]
    step_mm: float
    displacement_mm: NDArray[np.float32]
    correlation: float

    def __call__(self, places_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where places [3, ...] of the one head lie in the other."""
        nodes = (places_mm - self.origin_mm.reshape(3, *[1] * (places_mm.ndim - 1))) / self.step_mm
        moved = [
            ndimage.map_coordinates(part, nodes, order=1, mode="nearest")
            for part in self.displacement_mm
        ]
        result: NDArray[np.float64] = places_mm + np.stack(moved)
        return result

    def nodes_mm(self) -> NDArray[np.float64]:
        """Return the nodes' places in the one head, [3, a, b, c]."""
        steps = np.indices(self.displacement_mm.shape[1:]) * self.step_mm
        return steps + self.origin_mm.reshape(3, 1, 1, 1)

    def moved_nodes(self) -> NDArray[np.float64]:
        """Return the nodes' places in the other head, [3, a, b, c]."""
        return self.nodes_mm() + self.displacement_mm

    def write(self, path: Path) -> None:
        """Write the registration atomically."""
        stream = BytesIO()
        np.savez_compressed(stream, **vars(self))
        write_bytes(path, stream.getvalue())

    @classmethod
    def read(cls, path: Path) -> "Registration":
        """Return the registration of a file."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(
                origin_mm=stored["origin_mm"],
                step_mm=float(stored["step_mm"]),
                displacement_mm=stored["displacement_mm"],
                correlation=float(stored["correlation"]),
            )


def register(
    fixed: Volume, moving: Volume, *, names: tuple[str, str], seed: int = 0
) -> Registration:
    """Return the registration of one head without skull to another.

    Args:
        fixed: Zero outside the head.
        moving: Zero outside the head.
        names: Of the two, for messages.
        seed: Of the sampled intensities.

    Raises:
        DataError: The registration failed, or the images do not resemble each other after it.
    """
    try:
        transform = _transform(_itk(fixed), _itk(moving), seed=seed)
    except RuntimeError as fault:
        raise DataError(
            f"registering {names[1]} to {names[0]}: {str(fault).splitlines()[-1].strip()}"
        ) from None
    correlation = _correlation(fixed, moving, transform)
    if correlation < _LEAST_CORRELATION:
        raise DataError(
            f"registering {names[1]} to {names[0]}: the images correlate by {correlation:.2f} "
            f"afterwards, expected {_LEAST_CORRELATION} or more. Are both heads without skull, of "
            "one contrast, and is their orientation right?"
        )
    return _on_lattice(fixed, transform, correlation)


@_one_thread()
def carried_over(
    label_map: Volume, moving: Volume, *, to: Volume, names: tuple[str, str], seed: int = 0
) -> NDArray[np.uint16]:
    """Return the label map of one head on the grid of another, by deformable registration.

    Affine, B-spline and diffeomorphic demons, one after the other; labels by the nearest voxel.

    Args:
        label_map: Of the moving head.
        moving: Zero outside the head.
        to: The other head, of the same contrast, zero outside.
        names: Of the two, the moving one first, for messages.
        seed: Of the sampled intensities.

    Raises:
        DataError: The registration failed.
    """
    fixed, image = _itk(to), _itk(moving)
    try:
        coarse = _transform(fixed, image, seed=seed)
        moved = sitk.Resample(image, fixed, coarse, sitk.sitkLinear, 0.0)
        demons = sitk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(_DEMONS)
        demons.SetStandardDeviations(_DEMONS_SMOOTH)
        field = demons.Execute(fixed, sitk.HistogramMatching(moved, fixed, 128, 7, True))
    except RuntimeError as fault:
        raise DataError(
            f"registering {names[0]} to {names[1]}: {str(fault).splitlines()[-1].strip()}"
        ) from None
    fine = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    labels = sitk.GetImageFromArray(np.asarray(label_map.array, dtype=np.uint16).T)
    labels.CopyInformation(image)
    both = sitk.CompositeTransform([coarse, fine])
    there = sitk.Resample(labels, fixed, both, sitk.sitkNearestNeighbor, 0)
    result: NDArray[np.uint16] = sitk.GetArrayFromImage(there).T
    return result


@_one_thread()
def rigid_between(
    fixed: Volume, moving: Volume, *, centres_mm: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the rigid matrix [4, 4] from millimetres of one volume to those of another, RAS+.

    Args:
        fixed: Smooth, such as distances to an outline.
        moving: Of the same kind.
        centres_mm: Of what is to be aligned in each, [3]; the search starts with one on the other.
    """
    start = sitk.Euler3DTransform()
    start.SetCenter((centres_mm[0] * _TO_LPS).tolist())
    start.SetTranslation(((centres_mm[1] - centres_mm[0]) * _TO_LPS).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(start, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        1.0, 1e-3, 100, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-9
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([0.0, 0.0])
    method.Execute(_itk(fixed), _itk(moving))
    corner = np.array(start.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.array(start.TransformPoint(unit)) - corner for unit in np.eye(3).tolist()]
    return affine_of(_TO_LPS[:, None] * np.stack(axes, axis=1) * _TO_LPS, corner * _TO_LPS)


def _itk(volume: Volume) -> sitk.Image:
    """Return a volume as SimpleITK has it, its greatest value 1."""
    array = np.asarray(volume.array, dtype=np.float32)
    image = sitk.GetImageFromArray((array / max(float(np.abs(array).max()), 1e-6)).T)
    spacing = np.asarray(volume.spacing_mm, dtype=float)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((volume.affine[:3, 3] * _TO_LPS).tolist())
    direction = _TO_LPS[:, None] * volume.affine[:3, :3] / spacing
    image.SetDirection(direction.ravel().tolist())
    return image


@_one_thread()
def _transform(fixed: sitk.Image, moving: sitk.Image, *, seed: int) -> sitk.Transform:
    """Return affine and B-spline from fixed to moving points."""
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    affine = _method(seed, share=0.2)
    affine.SetInitialTransform(start, inPlace=False)
    affine.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 150, relaxationFactor=0.6)
    affine.SetOptimizerScalesFromPhysicalShift()
    affine.SetShrinkFactorsPerLevel([4, 2])
    affine.SetSmoothingSigmasPerLevel([4.0, 2.0])
    first = affine.Execute(fixed, moving)
    extent = [size * step for size, step in zip(fixed.GetSize(), fixed.GetSpacing(), strict=True)]
    mesh = [max(2, round(length / _SPLINE_MM)) for length in extent]
    spline = _method(seed, share=0.1)
    spline.SetMovingInitialTransform(first)
    spline.SetInitialTransform(sitk.BSplineTransformInitializer(fixed, mesh, 3), inPlace=True)
    spline.SetOptimizerAsLBFGSB(1e-5, 40, 5, 200)
    spline.SetShrinkFactorsPerLevel([2])
    spline.SetSmoothingSigmasPerLevel([2.0])
    second = spline.Execute(fixed, moving)
    return sitk.CompositeTransform([first, second])


def _method(seed: int, *, share: float) -> sitk.ImageRegistrationMethod:
    """Return a registration by mutual information on a share of the voxels, one thread."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(share, seed + 1)  # 0 would be the clock
    method.SetInterpolator(sitk.sitkLinear)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _correlation(fixed: Volume, moving: Volume, transform: sitk.Transform) -> float:
    """Return the correlation of the fixed and the moved image inside the fixed head."""
    moved = sitk.Resample(_itk(moving), _itk(fixed), transform, sitk.sitkLinear, 0.0)
    array = sitk.GetArrayFromImage(moved).T
    inside = np.asarray(fixed.array) > 0
    if not inside.any() or array[inside].std() == 0:
        return 0.0
    return float(np.corrcoef(np.asarray(fixed.array)[inside], array[inside])[0, 1])


def _on_lattice(fixed: Volume, transform: sitk.Transform, correlation: float) -> Registration:
    """Return a transform as displacements on a lattice around the fixed grid."""
    sizes = np.array(fixed.shape, dtype=float)
    corners = np.stack(np.meshgrid(*[(0.0, s - 1) for s in sizes], indexing="ij"), -1).reshape(
        -1, 3
    )
    world = moved_points(fixed.affine, corners)
    lower, upper = world.min(axis=0), world.max(axis=0)
    counts = np.ceil((upper - lower) / _STEP_MM).astype(int) + 1
    places = np.indices(counts).reshape(3, -1).T * _STEP_MM + lower  # [M, 3]
    moved = np.array([transform.TransformPoint(point) for point in (places * _TO_LPS).tolist()])
    displacement = (moved * _TO_LPS - places).T.reshape(3, *counts)
    return Registration(lower, _STEP_MM, displacement.astype(np.float32), correlation)
