"""`perturb`: a label map under a smooth diffeomorphic deformation.

What it is: one draw of a velocity field, its exponential, the warped map, and its checks.
In the flow: the first builder; sees labelled training cases only.
Sources: Arsigny et al. 2006, MICCAI (scaling and squaring).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.conditions.base import Condition, SourceMap, recomputed
from vcmaug.config import Settings
from vcmaug.data.deformation import (
    draw_velocity,
    integrate,
    jacobian_determinant,
    warp_label_map,
)
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator

__all__ = ["Perturb", "PerturbSettings", "displacement_of", "mirrored_if"]


class PerturbSettings(Settings):
    """How far and how smoothly to bend."""

    min_displacement_mm: float = Field(1.0, ge=0)
    max_displacement_mm: float = Field(5.0, gt=0)
    smoothness_mm: float = Field(10.0, gt=0, description="sigma of the Gaussian on the field")
    flip_probability: float = Field(
        0.0, ge=0, le=1, description="mirror left to right; only if no structure has a side"
    )
    max_tries: int = Field(10, ge=1, description="draws before a source is given up")


@dataclass(frozen=True)
class _Parameters:
    """What one draw decides; the velocity field follows from `field_seed` and `amplitude_mm`."""

    amplitude_mm: float
    mirrored: bool
    field_seed: int


@dataclass(frozen=True)
class Perturb:
    """The builder.

    Attributes:
        settings: How far and how smoothly.
        scheme: Of the label maps.
        inherit: Columns of the case table that a condition takes over from its source.
    """

    settings: PerturbSettings
    scheme: LabelScheme
    inherit: tuple[str, ...] = ("age", "sex")
    name: str = "perturb"

    def build(self, source: SourceMap, *, condition_id: str, seed: int) -> Condition:
        """Return a bent copy of the source's map.

        Raises:
            DataError: No draw of `max_tries` keeps every structure and folds nothing.
        """
        for tries in range(1, self.settings.max_tries + 1):
            parameters = self._draw(seed, tries)
            array, least = self._apply(source.label_map, parameters)
            if least > 0 and _survive(source.label_map.array, array):
                label_map = Volume(array, source.label_map.affine)
                return Condition(
                    condition_id=condition_id,
                    label_map=label_map,
                    row=recomputed(source.row, label_map, scheme=self.scheme, inherit=self.inherit),
                    source_case_ids=(source.case_id,),
                    source_subject_ids=(source.subject_id,),
                    builder=self.name,
                    parameters=vars(parameters),
                    seed=seed,
                    checks={"min_jacobian": least, "tries": float(tries)},
                )
        raise DataError(
            f"perturbing case {source.case_id}: {self.settings.max_tries} draws folded space or "
            "lost a structure. Lower max_displacement_mm or raise smoothness_mm."
        )

    def _draw(self, seed: int, tries: int) -> _Parameters:
        """Return the random parameters of one try."""
        generator = numpy_generator(seed, "perturb", tries)
        low, high = self.settings.min_displacement_mm, self.settings.max_displacement_mm
        return _Parameters(
            amplitude_mm=round(float(generator.uniform(min(low, high), high)), 3),
            mirrored=bool(generator.random() < self.settings.flip_probability),
            field_seed=int(generator.integers(2**31)),
        )

    def _apply(
        self, label_map: Volume, parameters: _Parameters
    ) -> tuple[NDArray[np.uint16], float]:
        """Return the bent map and the least Jacobian determinant."""
        displacement = displacement_of(vars(parameters), settings=self.settings, like=label_map)
        array = mirrored_if(label_map.array, vars(parameters))
        bent = warp_label_map(array, displacement, self.scheme)
        return bent, round(float(jacobian_determinant(displacement).min()), 4)


def displacement_of(
    parameters: Mapping[str, Any], *, settings: PerturbSettings, like: Volume
) -> NDArray[np.float32]:
    """Return the displacement [3, X, Y, Z] in voxels that a condition's record replays.

    Args:
        parameters: As recorded in `Condition.parameters`.
        settings: With which the condition was built.
        like: A volume on its grid.
    """
    velocity = draw_velocity(
        like.shape,
        spacing_mm=like.spacing_mm,
        max_displacement_mm=float(parameters["amplitude_mm"]),
        smoothness_mm=settings.smoothness_mm,
        generator=numpy_generator(int(parameters["field_seed"]), "velocity"),
    )
    return integrate(velocity)


def mirrored_if(array: NDArray[Any], parameters: Mapping[str, Any]) -> NDArray[Any]:
    """Return an array [X, Y, Z], mirrored left to right if a condition's record says so."""
    return np.flip(array, axis=0) if parameters["mirrored"] else array


def _survive(before: NDArray[Any], after: NDArray[Any]) -> bool:
    """Return whether every value of a label map is still there."""
    return set(np.unique(before)) <= set(np.unique(after)) | {0}
