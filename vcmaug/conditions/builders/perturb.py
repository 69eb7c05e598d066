"""`perturb`: a label map deformed, turned, and with structures grown or shrunk.

One draw of a velocity field and an affine map, both in one resampling, then volumes.

References:
    Arsigny et al. 2006, MICCAI (scaling and squaring).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, field_validator

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import Builder, Moves, Range, Ready, unknown_structures
from vcmaug.conditions.deformed_map import deformed_map
from vcmaug.conditions.resize import Side, resized, side_voxels, side_weights
from vcmaug.conditions.topology import Parts, counts_of, mended, parts_of, same_topology
from vcmaug.config import Settings
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import by_extent
from vcmaug.data.labels import LabelScheme
from vcmaug.data.mirror import mirror_of, mirrored
from vcmaug.data.sides import side_faults, sides_exchanged
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["Perturb", "PerturbDraw", "Perturbing", "ResizeSettings"]

_VOLUME_TOLERANCE = 0.02


class ResizeSettings(Settings):
    """How much one structure grows or shrinks, measured against the map it came from."""

    change: Range = Field(
        description="relative change of its volume, drawn between the two; one number is exact"
    )
    side: Literal["both", "left", "right", "either"] = Field(
        "both", description="either draws left or right for each condition"
    )

    @field_validator("change")
    @classmethod
    def _is_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        """Refuse what leaves nothing."""
        low, high = value
        if not -0.95 <= low <= high <= 10:
            raise ValueError("expected two numbers with -0.95 <= first <= second <= 10")
        return value

    def drawn(self, generator: np.random.Generator) -> "ResizeDraw":
        """Return a change, and the side where either will do."""
        change, side = round(float(generator.uniform(*self.change)), 4), self.side
        if side == "either":
            side = "left" if generator.random() < 0.5 else "right"
        return ResizeDraw(change=change, side=side)


class Perturb(Builder):
    """How far and how smoothly to deform, how far to turn, what to grow."""

    name: Literal["perturb"] = "perturb"
    min_displacement_mm: float = Field(1.0, ge=0)
    max_displacement_mm: float = Field(2.5, ge=0, description="0: no deformation")
    smoothness_mm: float = Field(10.0, gt=0, description="sigma of the Gaussian on the field")
    degrees: float = Field(0.0, ge=0, le=45, description="largest turn about each axis")
    scale: float = Field(0.0, ge=0, lt=0.5, description="largest relative change of each axis")
    translation_mm: float = Field(0.0, ge=0)
    resize: dict[str, ResizeSettings] = Field({}, description="by name of the structure")
    flip_probability: float = Field(
        0.0, ge=0, le=1, description="mirror left to right; pairs of structures change places"
    )
    keep_topology: bool = Field(True, description="parts and cavities of each structure")
    specks: float = Field(
        0.01, ge=0, lt=0.5, description="share of a structure below which a part does not count"
    )
    max_tries: int = Field(10, ge=1, description="draws before a source is given up")

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return structures that are not in the scheme, and sides that cannot be told."""
        sides = side_faults(structures) if self.flip_probability > 0 else []
        return [
            *unknown_structures({"resize": tuple(self.resize)}, structures),
            *(f"flip_probability: {fault}; set it to 0" for fault in sides),
        ]

    @classmethod
    def of_grid(cls, grid: Grid) -> "Perturb":
        """Return it as gentle as on hippocampi, or with the larger steps of whole heads."""
        return cls(
            min_displacement_mm=by_extent(grid, (1.0, 2.0)),
            max_displacement_mm=by_extent(grid, (2.5, 8.0)),
            smoothness_mm=by_extent(grid, (10.0, 16.0)),
        )

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what builds; it learns nothing."""
        return Perturbing(self, scheme)

    @classmethod
    def moves(cls, parameters: Mapping[str, JsonValue]) -> Moves:
        """Return that images follow, unless the outline of a structure was moved by itself."""
        return "no image follows" if parameters.get("resize") else "images follow"

    @classmethod
    def follow(
        cls,
        volume: Volume,
        parameters: Mapping[str, JsonValue],
        *,
        source: Volume | None = None,
        classes: bool = False,
    ) -> Volume:
        """Return a volume mirrored and deformed as the map was."""
        from vcmaug.data.deformation import deform_image, deform_label_map

        deformed = deform_label_map if classes else deform_image
        draw = PerturbDraw.model_validate(parameters)
        start = mirrored(volume) if draw.mirrored else volume.array
        return Volume(deformed(start, draw.displacement(volume)), volume.affine)


class ResizeDraw(Settings):
    """How much the volume of a structure changes, and on which side."""

    change: float
    side: Side


class PerturbDraw(Settings):
    """What one draw decides, as a step records it.

    The velocity field follows from `field_seed` and its length. Vectors have one number per axis.
    """

    max_displacement_mm: float
    smoothness_mm: float
    mirrored: bool
    field_seed: int
    degrees: tuple[float, float, float]
    scale: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    resize: dict[str, ResizeDraw] = Field({}, description="by structure")

    def lattice(self, like: Volume) -> NDArray[np.float32]:
        """Return the displacement of field and affine map together, on a lattice [3, a, b, c].

        Args:
            like: A volume on the grid.
        """
        from vcmaug.data.deformation import draw_velocity, integrate, turned

        velocity = draw_velocity(
            like.shape,
            spacing_mm=like.spacing_mm,
            max_displacement_mm=self.max_displacement_mm,
            smoothness_mm=self.smoothness_mm,
            generator=numpy_generator(self.field_seed, "velocity"),
        )
        return turned(
            integrate(velocity, like.shape),
            like.shape,
            spacing_mm=like.spacing_mm,
            degrees=self.degrees,
            scales=self.scale,
            translation_mm=self.translation_mm,
        )

    def displacement(self, like: Volume) -> NDArray[np.float32]:
        """Return the displacement [3, X, Y, Z] in voxels.

        Args:
            like: A volume on the grid.
        """
        from vcmaug.data.deformation import upsampled

        return upsampled(self.lattice(like), like.shape)


@dataclass(frozen=True)
class Perturbing:
    """Perturbs label maps of a scheme.

    Attributes:
        settings: How far and how smoothly.
        scheme: Of the label maps.
    """

    settings: Perturb
    scheme: LabelScheme

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with a perturbed map.

        Raises:
            DataError: No draw of `max_tries` folds nothing, keeps the topology and reaches the
                volumes; the reasons are counted. Or the sides of a map to mirror, or of the
                columns that it takes over, cannot be told.
        """
        settings, volume = self.settings, condition.label_map
        before = Volume(self.scheme.channels(volume.array), volume.affine)
        found = parts_of(before.array, self.scheme.num_structures)
        refused: Counter[str] = Counter()
        for tries in range(1, settings.max_tries + 1):
            draw = self._draw(seed, tries)
            start, parts = before, found
            if draw.mirrored:
                channels = mirror_of(before.orientation, self.scheme).channels
                start = Volume(channels[mirrored(before)], before.affine)
                parts = [found[channel - 1] for channel in channels[1:]]
            after, checks = self._apply(start, counts_of(parts), draw)
            fault = self._fault(draw, after, parts, checks)
            if fault is None:
                counted = {f"refused_{name}": float(refused[name]) for name in sorted(refused)}
                step = Step(
                    settings.name, draw.model_dump(), {**checks, "tries": float(tries), **counted}
                )
                label_map = Volume(self.scheme.label_map(after), volume.affine)
                row = sides_exchanged(condition.row) if draw.mirrored else condition.row
                return condition.changed(step, label_map=label_map, row=row)
            refused[fault] += 1
        reasons = ", ".join(f"{count} for {reason}" for reason, count in refused.items())
        raise DataError(
            f"perturbing case {condition.source.case_id}: {settings.max_tries} draws were refused "
            f"({reasons}). Lower max_displacement_mm or the changes of volume, raise "
            "smoothness_mm, or set keep_topology: false."
        )

    def _draw(self, seed: int, tries: int) -> PerturbDraw:
        """Return the random parameters of one try."""
        generator = numpy_generator(seed, "perturb", tries)
        settings = self.settings

        def three(largest: float, about: float = 0.0) -> tuple[float, float, float]:
            drawn = generator.uniform(-largest, largest, 3).tolist()
            first, second, third = (round(about + value, 5) for value in drawn)
            return first, second, third

        low, high = settings.min_displacement_mm, settings.max_displacement_mm
        return PerturbDraw(
            max_displacement_mm=round(float(generator.uniform(min(low, high), high)), 3),
            smoothness_mm=settings.smoothness_mm,
            mirrored=bool(generator.random() < settings.flip_probability),
            field_seed=int(generator.integers(2**31)),
            degrees=three(settings.degrees),
            scale=three(settings.scale, about=1.0),
            translation_mm=three(settings.translation_mm),
            resize={name: one.drawn(generator) for name, one in settings.resize.items()},
        )

    def _apply(
        self, volume: Volume, wanted: NDArray[np.int64], draw: PerturbDraw
    ) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Return the perturbed index map and what was measured of it."""
        from vcmaug.data.deformation import least_jacobian, upsampled

        start, keep = volume.array, self.settings.keep_topology
        field = draw.lattice(volume)
        deformed = deformed_map(
            start,
            upsampled(field, volume.shape),
            num_structures=self.scheme.num_structures,
            wanted=wanted if keep else None,
            specks=self.settings.specks,
        )
        checks = {"min_jacobian": round(least_jacobian(field, volume.shape), 4)}
        for name, wish in draw.resize.items():
            channel = self.scheme.names.index(name) + 1
            weights = side_weights(volume, wish.side)
            at_start = side_voxels(start, channel, weights)
            weights = side_weights(Volume(deformed, volume.affine), wish.side)
            by = round(at_start * (1.0 + wish.change)) - side_voxels(deformed, channel, weights)
            deformed = resized(
                deformed,
                channel,
                by=by,
                spacing_mm=volume.spacing_mm,
                weights=weights,
                apart=self.settings.specks / 2 if keep else None,
            )
            deformed = mended(deformed, wanted) if keep else deformed
            reached = side_voxels(deformed, channel, weights) / max(at_start, 1) - 1.0
            checks[f"change_{name}"] = round(reached, 4)
        return deformed, checks

    def _fault(
        self,
        draw: PerturbDraw,
        after: NDArray[np.uint8],
        before: Sequence[Parts],
        checks: Mapping[str, float],
    ) -> str | None:
        """Return why a draw is refused, or None."""
        if checks["min_jacobian"] <= 0:
            return "folds"
        found = parts_of(after, self.scheme.num_structures)
        if any(new.volume == 0 < old.volume for old, new in zip(before, found, strict=True)):
            return "lost structures"
        specks = self.settings.specks
        if self.settings.keep_topology and not same_topology(before, found, specks=specks):
            return "topology"
        missed = any(
            abs(checks[f"change_{name}"] - wish.change) > _VOLUME_TOLERANCE * (1.0 + wish.change)
            for name, wish in draw.resize.items()
        )
        return "volumes" if missed else None
