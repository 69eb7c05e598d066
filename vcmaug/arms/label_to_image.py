"""`real+label-to-image`: grey values drawn per label of a condition, with no generator.

Where label maps leave most of the image to the background, the background is cut into classes by
the grey values of the condition's source, deformed as the map was where an image can follow.

References:
    The idea of Billot et al., "SynthSeg", 2023, Med Image Anal, written from its description.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import MadeCase, parents_of, write_cases
from vcmaug.conditions.builder import images_followed
from vcmaug.conditions.builders.lowres import slice_weights
from vcmaug.conditions.table import ConditionRow, read_conditions
from vcmaug.conditions.workshop import map_bytes, workshop_in
from vcmaug.data.nifti import label_map_in
from vcmaug.data.volume import Volume
from vcmaug.progress import Report, silent
from vcmaug.seeding import numpy_generator, stable_seed

__all__ = ["LabelToImage"]


class LabelToImage(Arm):
    """Real labelled cases mixed with painted conditions; ranges from which each image is drawn."""

    name: Literal["real+label-to-image"] = "real+label-to-image"
    mean: tuple[float, float] = Field((0.05, 0.95), description="grey value of a class")
    deviation: tuple[float, float] = Field((0.02, 0.12), description="of its voxels")
    background_classes: int = Field(4, ge=1, description="by grey values of the source")
    blur_mm: float = Field(1.0, ge=0, description="largest sigma")
    bias: float = Field(0.3, ge=0, description="largest deviation of the log bias field")
    log_gamma: float = Field(0.3, ge=0)
    slice_mm: float = Field(3.0, gt=0, description="thickest slices, along a drawn axis")

    colour: ClassVar[str] = "#bbbbbb"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONDITIONS})
    folder: ClassVar[str | None] = "label-to-image"

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        """Write as many painted conditions as the recipe draws, each condition in turn.

        Raises:
            CohortError: A condition's source is not among the cases.
        """
        table = read_conditions(sources.conditions)
        write_cases(
            lambda index: self._painted(index, table[index % len(table)], sources),
            sources,
            n=sources.n,
            doing="painting",
            out=out,
            report=report,
            conditions=sources.conditions,
        )

    def _painted(self, index: int, asked: ConditionRow, sources: Sources) -> MadeCase:
        """Return one painted condition."""
        parents = parents_of(asked, sources.cases)
        label_file = map_bytes(sources.conditions, asked)
        label_map = label_map_in(label_file)
        seed = stable_seed(sources.seed, "label to image", index)
        classes = sources.scheme.channels(label_map.array).astype(np.int64)
        outside = _background(asked, sources, self.background_classes)
        classes = np.where(classes > 0, classes, sources.scheme.num_structures + 1 + outside)
        image = self.image_of_labels(classes, spacing_mm=label_map.spacing_mm, seed=seed)
        return MadeCase(
            method="label_to_image",
            image=Volume(image, label_map.affine),
            label_file=label_file,
            condition_id=asked.condition_id,
            parents=parents,
            parameters=asked.steps,
            role=asked.role,
            seed=seed,
        )

    def image_of_labels(
        self, classes: NDArray[np.int64], *, spacing_mm: Sequence[float], seed: int
    ) -> NDArray[np.float32]:
        """Return an image, float32 [X, Y, Z] in [0, 1], for class numbers from 0.

        Args:
            classes: [X, Y, Z].
            spacing_mm: Voxel size.
            seed: Of everything drawn.
        """
        from scipy import ndimage

        generator = numpy_generator(seed, "painting")
        count = int(classes.max()) + 1
        means = generator.uniform(*self.mean, count)
        deviations = generator.uniform(*self.deviation, count)
        image = means[classes] + deviations[classes] * generator.standard_normal(classes.shape)
        sigma_mm = generator.uniform(0, self.blur_mm)
        image = ndimage.gaussian_filter(image, sigma_mm / np.asarray(spacing_mm))
        image = image * np.exp(_smooth_noise(image.shape, generator, self.bias))
        axis = int(generator.integers(3))
        thickest = max(self.slice_mm, spacing_mm[axis])
        image = _in_slices(
            image, axis, spacing_mm[axis], generator.uniform(spacing_mm[axis], thickest)
        )
        low, high = np.quantile(image, (0.005, 0.995))
        scaled = np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)
        gamma = np.exp(generator.uniform(-self.log_gamma, self.log_gamma))
        painted: NDArray[np.float32] = (scaled**gamma).astype(np.float32)
        return painted


def _background(asked: ConditionRow, sources: Sources, num_classes: int) -> NDArray[np.int64]:
    """Return classes of the source's grey values, from 0, deformed as its map was if it can."""
    still = replace(asked, steps=asked.steps if images_followed(asked.steps) else ())

    def classes_of(image: Volume) -> Volume:
        edges = np.quantile(image.array, np.linspace(0, 1, num_classes + 1)[1:-1])
        return Volume(np.digitize(image.array, edges), image.affine)

    classes = workshop_in(sources.conditions).follow(still, classes_of, classes=True)
    return classes.array.astype(np.int64, copy=False)


def _smooth_noise(
    shape: Sequence[int], generator: np.random.Generator, largest: float
) -> NDArray[np.float64]:
    """Return a smooth field of a drawn deviation."""
    from scipy import ndimage

    coarse = generator.standard_normal((4, 4, 4)) * generator.uniform(0, largest)
    zoomed: NDArray[np.float64] = ndimage.zoom(coarse, [size / 4 for size in shape], order=3)
    return zoomed


def _in_slices(
    image: NDArray[np.float64], axis: int, voxel_mm: float, thickness_mm: float
) -> NDArray[np.float64]:
    """Return an image as thick slices along an axis show it, linear between them."""
    centres, weights = slice_weights(
        image.shape[axis],
        voxel_mm=voxel_mm,
        spacing_mm=thickness_mm,
        thickness_mm=thickness_mm,
        profile="box",
    )
    slices = np.moveaxis(image, axis, -1) @ weights.T
    places = np.interp(np.arange(image.shape[axis]), centres, np.arange(len(centres)))
    first = np.minimum(places.astype(int), max(len(centres) - 2, 0))
    share = places - first
    second = np.minimum(first + 1, len(centres) - 1)
    mixed = slices[..., first] * (1 - share) + slices[..., second] * share
    result: NDArray[np.float64] = np.moveaxis(mixed, -1, axis)
    return result
