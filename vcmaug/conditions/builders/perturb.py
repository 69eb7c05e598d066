"""`perturb`: a label map deformed, turned, and with structures grown or shrunk.

One draw of a velocity field and an affine map, both in one resampling, then volumes.

References:
    Arsigny et al. 2006, MICCAI (scaling and squaring).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import Builder, Moves, Ready, unknown_structures
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme, from_index_map, index_map
from vcmaug.data.mirror import lone_sides, mirror_of, mirrored
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

if TYPE_CHECKING:
    from vcmaug.conditions.topology import Parts

__all__ = ["Perturb", "Perturbing", "ResizeSettings", "displacement_of"]

Side = Literal["both", "left", "right"]

_VOLUME_TOLERANCE = 0.02


class ResizeSettings(Settings):
    """How much one structure grows or shrinks, measured against the map it came from."""

    change: tuple[float, float] = Field(
        description="relative change of its volume, drawn between the two; one number is exact"
    )
    side: Literal["both", "left", "right", "either"] = Field(
        "both", description="either draws left or right for each condition"
    )

    @field_validator("change", mode="before")
    @classmethod
    def _is_range(cls, value: object) -> object:
        """Take one number for both ends; refuse what leaves nothing."""
        ends = (value, value) if isinstance(value, int | float) else value
        if isinstance(ends, tuple | list) and len(ends) == 2:
            low, high = ends
            if not -0.95 <= low <= high <= 10:
                raise ValueError("expected two numbers with -0.95 <= first <= second <= 10")
        return ends


class Perturb(Builder):
    """How far and how smoothly to deform, how far to turn, what to grow."""

    name: Literal["perturb"] = "perturb"
    min_displacement_mm: float = Field(1.0, ge=0)
    max_displacement_mm: float = Field(5.0, ge=0, description="0: no deformation")
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
        """Return structures that are not in the scheme, and sides that a mirror would miss."""
        lone = lone_sides(structures) if self.flip_probability > 0 else []
        return [
            *unknown_structures({"resize": tuple(self.resize)}, structures),
            *(f"flip_probability: {fault}; set it to 0" for fault in lone),
        ]

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what builds; it learns nothing."""
        return Perturbing(self, scheme)

    @classmethod
    def moves(cls, parameters: Mapping[str, Any]) -> Moves:
        """Return that images follow, unless the outline of a structure was moved by itself."""
        return "no image follows" if parameters.get("resize") else "images follow"

    @classmethod
    def follow(
        cls, volume: Volume, parameters: Mapping[str, Any], *, classes: bool = False
    ) -> Volume:
        """Return a volume mirrored and deformed as the map was."""
        from vcmaug.data.deformation import warp_image, warp_label_map

        deformed = warp_label_map if classes else warp_image
        start = mirrored(volume) if parameters["mirrored"] else volume.array
        return Volume(deformed(start, displacement_of(parameters, volume)), volume.affine)


@dataclass(frozen=True)
class _Parameters:
    """What one draw decides; the velocity field follows from `field_seed` and its length."""

    max_displacement_mm: float
    smoothness_mm: float
    mirrored: bool
    field_seed: int
    degrees: tuple[float, float, float]
    scale: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    resize: Mapping[str, "_Resize"]  # by structure


@dataclass(frozen=True)
class _Resize:
    """How much the volume of a structure changes, and on which side."""

    change: float
    side: Side


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
                volumes; the reasons are counted.
        """
        from vcmaug.conditions.topology import counts_of, parts_of

        volume = condition.label_map
        before = Volume(index_map(volume.array, self.scheme), volume.affine)
        found = parts_of(before.array, self.scheme.num_structures)
        refused: Counter[str] = Counter()
        for tries in range(1, self.settings.max_tries + 1):
            parameters = self._draw(seed, tries)
            start, parts = self._start(before, found, parameters)
            after, checks = self._apply(start, counts_of(parts), parameters)
            fault = self._fault(parameters, after, parts, checks)
            if fault is None:
                label_map = Volume(from_index_map(after, self.scheme), volume.affine)
                counted = {
                    f"refused_{reason}": float(refused[reason]) for reason in sorted(refused)
                }
                step = Step(
                    self.settings.name,
                    asdict(parameters),
                    checks | {"tries": float(tries)} | counted,
                )
                return condition.changed(step, label_map=label_map)
            refused[fault] += 1
        reasons = ", ".join(f"{count} for {reason}" for reason, count in refused.items())
        raise DataError(
            f"perturbing case {condition.source.case_id}: {self.settings.max_tries} draws were "
            f"refused ({reasons}). Lower max_displacement_mm or the changes of volume, raise "
            "smoothness_mm, or set keep_topology: false."
        )

    def _draw(self, seed: int, tries: int) -> _Parameters:
        """Return the random parameters of one try."""
        generator = numpy_generator(seed, "perturb", tries)
        settings = self.settings
        low, high = settings.min_displacement_mm, settings.max_displacement_mm
        amplitude = round(float(generator.uniform(min(low, high), high)), 3)
        mirrored = bool(generator.random() < settings.flip_probability)
        field_seed = int(generator.integers(2**31))
        return _Parameters(
            max_displacement_mm=amplitude,
            smoothness_mm=settings.smoothness_mm,
            mirrored=mirrored,
            field_seed=field_seed,
            degrees=_three(generator, settings.degrees),
            scale=_three(generator, settings.scale, about=1.0),
            translation_mm=_three(generator, settings.translation_mm),
            resize={
                name: _Resize(
                    round(float(generator.uniform(*one.change)), 4), _side(one, generator)
                )
                for name, one in settings.resize.items()
            },
        )

    def _start(
        self, before: Volume, found: "Sequence[Parts]", parameters: _Parameters
    ) -> "tuple[Volume, Sequence[Parts]]":
        """Return the index map to deform, mirrored if drawn so, and the parts of structures."""
        if not parameters.mirrored:
            return before, found
        channels = mirror_of(before.orientation, self.scheme).channels
        turned_round = Volume(channels[mirrored(before)], before.affine)
        return turned_round, [found[channel - 1] for channel in channels[1:]]

    def _apply(
        self, volume: Volume, wanted: NDArray[np.int64], parameters: _Parameters
    ) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Return the perturbed index map and what was measured of it."""
        from vcmaug.conditions.thin import thin_structures, with_shares
        from vcmaug.conditions.topology import apart, mended, numbered
        from vcmaug.data.deformation import least_jacobian, upsampled, warp_label_map

        start = volume.array
        field = _lattice_of(asdict(parameters), volume)
        least = least_jacobian(field, volume.shape)
        displacement = upsampled(field, volume.shape)
        if self.settings.keep_topology:
            parts, owners = numbered(
                start, self.scheme.num_structures, least=self.settings.specks / 2
            )
            deformed = apart(warp_label_map(parts, displacement), owners)
        else:
            deformed = warp_label_map(start, displacement)
        for channel in thin_structures(start, self.scheme.num_structures):
            deformed = with_shares(deformed, start, displacement, channel)
        deformed = mended(deformed, wanted) if self.settings.keep_topology else deformed
        checks = {"min_jacobian": round(least, 4)}
        for name, wish in parameters.resize.items():
            deformed, checks[f"change_{name}"] = self._resize(
                start, deformed, wanted, name=name, wish=wish, affine=volume.affine
            )
        return deformed, checks

    def _resize(
        self,
        start: NDArray[np.uint8],
        deformed: NDArray[np.uint8],
        wanted: NDArray[np.int64],
        *,
        name: str,
        wish: _Resize,
        affine: NDArray[np.float64],
    ) -> tuple[NDArray[np.uint8], float]:
        """Return a map with one structure resized, and the change of volume that was reached."""
        from vcmaug.conditions.resize import resized, side_voxels, side_weights
        from vcmaug.conditions.topology import mended

        channel = self.scheme.names.index(name) + 1
        at_start = side_voxels(start, channel, side_weights(Volume(start, affine), wish.side))
        weights = side_weights(Volume(deformed, affine), wish.side)
        by = round(at_start * (1.0 + wish.change)) - side_voxels(deformed, channel, weights)
        grown = resized(
            deformed,
            channel,
            by=by,
            spacing_mm=Volume(deformed, affine).spacing_mm,
            weights=weights,
            apart=self.settings.specks / 2 if self.settings.keep_topology else None,
        )
        grown = mended(grown, wanted) if self.settings.keep_topology else grown
        reached = side_voxels(grown, channel, weights) / max(at_start, 1) - 1.0
        return grown, round(reached, 4)

    def _fault(
        self,
        parameters: _Parameters,
        after: NDArray[np.uint8],
        before: "Sequence[Parts]",
        checks: Mapping[str, float],
    ) -> str | None:
        """Return why a draw is refused, or None."""
        from vcmaug.conditions.topology import parts_of, same_topology

        if checks["min_jacobian"] <= 0:
            return "folds"
        found = parts_of(after, self.scheme.num_structures)
        if any(new.volume == 0 < old.volume for old, new in zip(before, found, strict=True)):
            return "lost structures"
        if self.settings.keep_topology and not same_topology(
            before, found, specks=self.settings.specks
        ):
            return "topology"
        missed = [
            name
            for name, wish in parameters.resize.items()
            if abs(checks[f"change_{name}"] - wish.change) > _VOLUME_TOLERANCE * (1.0 + wish.change)
        ]
        return "volumes" if missed else None


def _three(
    generator: np.random.Generator, largest: float, *, about: float = 0.0
) -> tuple[float, float, float]:
    """Return three numbers drawn within a distance of another."""
    first, second, third = (
        round(about + float(value), 5) for value in generator.uniform(-largest, largest, 3)
    )
    return first, second, third


def _side(settings: ResizeSettings, generator: np.random.Generator) -> Side:
    """Return the side to change, drawn where either will do."""
    if settings.side == "either":
        return "left" if generator.random() < 0.5 else "right"
    return settings.side


def displacement_of(parameters: Mapping[str, Any], like: Volume) -> NDArray[np.float32]:
    """Return the displacement [3, X, Y, Z] in voxels that a condition's record replays.

    Args:
        parameters: As recorded in `Step.parameters`.
        like: A volume on its grid.
    """
    from vcmaug.data.deformation import upsampled

    return upsampled(_lattice_of(parameters, like), like.shape)


def _lattice_of(parameters: Mapping[str, Any], like: Volume) -> NDArray[np.float32]:
    """Return the displacement of field and affine map together, on a lattice [3, a, b, c]."""
    from vcmaug.data.deformation import draw_velocity, integrate, turned

    velocity = draw_velocity(
        like.shape,
        spacing_mm=like.spacing_mm,
        max_displacement_mm=float(parameters["max_displacement_mm"]),
        smoothness_mm=float(parameters["smoothness_mm"]),
        generator=numpy_generator(int(parameters["field_seed"]), "velocity"),
    )
    return turned(
        integrate(velocity, like.shape),
        like.shape,
        spacing_mm=like.spacing_mm,
        degrees=parameters["degrees"],
        scales=parameters["scale"],
        translation_mm=parameters["translation_mm"],
    )
