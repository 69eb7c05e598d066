"""`perturb`: a label map deformed, turned, and with structures grown or shrunk.

What it is: one draw of a velocity field and an affine map, both in one resampling, then volumes.
In the flow: a builder; sees labelled training cases only.
Sources: Arsigny et al. 2006, MICCAI (scaling and squaring).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.resize import (
    ResizeSettings,
    Side,
    resized,
    side_voxels,
    side_weights,
)
from vcmaug.conditions.thin import thin_structures, with_shares
from vcmaug.conditions.topology import (
    Parts,
    apart,
    counts_of,
    mended,
    numbered,
    parts_of,
    same_topology,
)
from vcmaug.config import Settings
from vcmaug.data.deformation import (
    draw_velocity,
    integrate,
    least_jacobian,
    turned,
    upsampled,
    warp_label_map,
)
from vcmaug.data.labels import LabelScheme, from_index_map, index_map
from vcmaug.data.mirror import mirror_of, mirrored
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["Perturb", "PerturbSettings", "displacement_of", "mirrored_if"]

_VOLUME_TOLERANCE = 0.02


class PerturbSettings(Settings):
    """How far and how smoothly to bend, how far to turn, what to grow."""

    builder: Literal["perturb"] = "perturb"
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


@dataclass(frozen=True)
class _Parameters:
    """What one draw decides; the velocity field follows from `field_seed` and `amplitude_mm`."""

    amplitude_mm: float
    smoothness_mm: float
    mirrored: bool
    field_seed: int
    degrees: tuple[float, float, float]
    scales: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    resize: Mapping[str, tuple[float, Side]]  # structure -> change, side


@dataclass(frozen=True)
class Perturb:
    """The builder.

    Attributes:
        settings: How far and how smoothly.
        scheme: Of the label maps.
    """

    settings: PerturbSettings
    scheme: LabelScheme
    name: str = "perturb"

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with a perturbed map.

        Raises:
            DataError: No draw of `max_tries` folds nothing, keeps the topology and reaches the
                volumes; the reasons are counted.
        """
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
                    self.name, asdict(parameters), checks | {"tries": float(tries)} | counted
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
            amplitude_mm=amplitude,
            smoothness_mm=settings.smoothness_mm,
            mirrored=mirrored,
            field_seed=field_seed,
            degrees=_three(generator, settings.degrees),
            scales=_three(generator, settings.scale, about=1.0),
            translation_mm=_three(generator, settings.translation_mm),
            resize={
                name: (round(float(generator.uniform(*one.change)), 4), _side(one, generator))
                for name, one in settings.resize.items()
            },
        )

    def _start(
        self, before: Volume, found: Sequence[Parts], parameters: _Parameters
    ) -> tuple[Volume, Sequence[Parts]]:
        """Return the index map that is bent, mirrored if drawn so, and the parts of structures."""
        if not parameters.mirrored:
            return before, found
        channels = mirror_of(before.orientation, self.scheme).channels
        turned_round = Volume(channels[mirrored(before)], before.affine)
        return turned_round, [found[channel - 1] for channel in channels[1:]]

    def _apply(
        self, volume: Volume, wanted: NDArray[np.int64], parameters: _Parameters
    ) -> tuple[NDArray[np.uint8], dict[str, float]]:
        """Return the perturbed index map and what was measured of it."""
        start = volume.array
        field = _lattice_of(asdict(parameters), volume)
        least = least_jacobian(field, volume.shape)
        displacement = upsampled(field, volume.shape)
        if self.settings.keep_topology:
            parts, owners = numbered(
                start, self.scheme.num_structures, least=self.settings.specks / 2
            )
            bent = apart(warp_label_map(parts, displacement), owners)
        else:
            bent = warp_label_map(start, displacement)
        for channel in thin_structures(start, self.scheme.num_structures):
            bent = with_shares(bent, start, displacement, channel)
        bent = mended(bent, wanted) if self.settings.keep_topology else bent
        checks = {"min_jacobian": round(least, 4)}
        for name, (change, side) in parameters.resize.items():
            bent, checks[f"change_{name}"] = self._resize(
                start, bent, wanted, name=name, change=change, side=side, affine=volume.affine
            )
        return bent, checks

    def _resize(
        self,
        start: NDArray[np.uint8],
        bent: NDArray[np.uint8],
        wanted: NDArray[np.int64],
        *,
        name: str,
        change: float,
        side: Side,
        affine: NDArray[np.float64],
    ) -> tuple[NDArray[np.uint8], float]:
        """Return a map with one structure resized, and the change of volume that was reached."""
        channel = self.scheme.names.index(name) + 1
        at_start = side_voxels(start, channel, side_weights(Volume(start, affine), side))
        weights = side_weights(Volume(bent, affine), side)
        by = round(at_start * (1.0 + change)) - side_voxels(bent, channel, weights)
        grown = resized(
            bent,
            channel,
            by=by,
            spacing_mm=Volume(bent, affine).spacing_mm,
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
        before: Sequence[Parts],
        checks: Mapping[str, float],
    ) -> str | None:
        """Return why a draw is refused, or None."""
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
            for name, (change, _) in parameters.resize.items()
            if abs(checks[f"change_{name}"] - change) > _VOLUME_TOLERANCE * (1.0 + change)
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
    return upsampled(_lattice_of(parameters, like), like.shape)


def _lattice_of(parameters: Mapping[str, Any], like: Volume) -> NDArray[np.float32]:
    """Return the displacement of field and affine map together, on a lattice [3, a, b, c]."""
    velocity = draw_velocity(
        like.shape,
        spacing_mm=like.spacing_mm,
        max_displacement_mm=float(parameters["amplitude_mm"]),
        smoothness_mm=float(parameters["smoothness_mm"]),
        generator=numpy_generator(int(parameters["field_seed"]), "velocity"),
    )
    return turned(
        integrate(velocity, like.shape),
        like.shape,
        spacing_mm=like.spacing_mm,
        degrees=parameters["degrees"],
        scales=parameters["scales"],
        translation_mm=parameters["translation_mm"],
    )


def mirrored_if(image: Volume, parameters: Mapping[str, Any]) -> NDArray[Any]:
    """Return an image's array, mirrored left to right if a condition's record says so."""
    return mirrored(image) if parameters["mirrored"] else image.array
