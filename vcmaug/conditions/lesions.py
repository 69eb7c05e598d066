"""`lesions`: lesions of an atlas mixed into the label map of a host.

What it is: choice of donors, places, and the rules that a placed lesion has to keep.
In the flow: a builder; host and donors are training subjects.
Sources: none.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vcmaug.conditions.atlas import Atlas, Lesion
from vcmaug.conditions.atlas_index import AtlasSettings
from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.mass_effect import pushed_aside
from vcmaug.conditions.placement import (
    AffinePlace,
    Place,
    Placed,
    RegisteredPlace,
    place,
    to_map,
)
from vcmaug.conditions.topology import nearest_others
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme, from_index_map, index_map
from vcmaug.data.registration import WorldMap
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.seeding import numpy_generator
from vcmaug.shapes import padded_box

__all__ = ["Lesions", "LesionsSettings"]

_JITTER_MM = 6.0  # of a drawn place about the lesion of the atlas that it is taken from
_SIZES = {"small": (0.0, 1 / 3), "medium": (1 / 3, 2 / 3), "large": (2 / 3, 1.0)}


class LesionsSettings(Settings):
    """Which lesions, how many, where, and what they may touch."""

    builder: Literal["lesions"] = "lesions"
    atlas: AtlasSettings
    placement: Literal["common", "registered", "sampled"] = Field(
        "sampled",
        description="common: host and atlas share a space; registered: each host to the template; "
        "sampled: a place drawn from where the atlas has lesions, head box to head box",
    )
    count: tuple[int, int] | None = Field(None, description="per case; None: as in the atlas")
    donors: Literal["mixed", "one"] = Field("mixed", description="subjects that a case draws from")
    keep_own: bool = Field(
        True, description="lesions that the host has already; if not, the tissue around fills them"
    )
    same_subject: bool = Field(False, description="whether host and donor may be one person")
    size: Literal["any", "small", "medium", "large"] = Field("any", description="third by volume")
    volume_mm3: tuple[float, float] = Field((0.0, math.inf), description="of a placed lesion")
    side: Literal["any", "left", "right"] = "any"
    inside: tuple[str, ...] = Field((), description="structures that may carry it; none: all")
    off: tuple[str, ...] = Field((), description="structures that it must not touch")
    least_inside: float = Field(0.7, ge=0, le=1, description="of it in `inside`; the rest is cut")
    gap_mm: float = Field(0.0, ge=0, description="between two lesions")
    degrees: float = Field(15.0, ge=0, le=180, description="largest turn of a sampled lesion")
    scale: float = Field(0.15, ge=0, lt=1, description="largest relative change of its edges")
    elastic_mm: float = Field(1.0, ge=0, description="largest change of its outline")
    mass_effect: float = Field(0.0, ge=0, le=1, description="share of its volume pushed aside")
    max_draws: int = Field(20, ge=1, description="tries of one lesion before it is left out")
    least_placed: float = Field(0.5, ge=0, le=1, description="of the lesions asked for in a case")
    max_tries: int = Field(5, ge=1, description="draws of a whole case before it is given up")


@dataclass
class _Host:
    """A host while lesions are put into it."""

    indices: NDArray[np.uint8]
    lesions: NDArray[np.bool_]
    volume: Volume
    head_mm: NDArray[np.float64]  # corners of all labels, [2, 3]
    placed: list[dict[str, Any]] = field(default_factory=list)
    donors: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Lesions:
    """The builder.

    Attributes:
        settings: What may go where.
        scheme: Of the label maps; it holds the structures of the atlas.
        atlas: Indexed.
        maps: From each host's world to that of the atlas, by case; used by `registered`.
    """

    settings: LesionsSettings
    scheme: LabelScheme
    atlas: Atlas
    maps: Mapping[str, WorldMap] = field(default_factory=dict)
    name: str = "lesions"

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with lesions in its map, and in a channel `lesion` of their own.

        Raises:
            DataError: No draw of `max_tries` placed enough of them; the reasons are counted.
        """
        candidates = self._candidates(condition)
        reasons: Counter[str] = Counter()
        for tries in range(1, self.settings.max_tries + 1):
            generator = numpy_generator(seed, "lesions", tries)
            chosen, count = self._how_many(candidates, generator)
            host = self._host(condition.label_map)
            order = itertools.cycle(generator.permutation(len(chosen)).tolist())
            draws = (chosen[number] for number in order)
            for _ in range(count):
                self._add(host, draws, condition, generator)
            reasons += host.refused
            if len(host.placed) >= max(1, math.ceil(self.settings.least_placed * count)):
                return self._finished(condition, host, asked=count, tries=tries)
        listed = ", ".join(f"{name} {count}" for name, count in reasons.most_common())
        raise DataError(
            f"placing lesions into case {condition.source.case_id}: {self.settings.max_tries} "
            f"draws placed fewer than {self.settings.least_placed:.0%} of the lesions (refused: "
            f"{listed}). Loosen inside, off, volume_mm3 or least_inside, or choose another "
            "placement."
        )

    def _candidates(self, condition: Condition) -> list[Lesion]:
        """Return the lesions that may go into a host.

        Raises:
            DataError: There is none.
        """
        settings = self.settings
        volumes = np.array([one.volume_mm3 for one in self.atlas.lesions])
        low, high = (0.0, math.inf)
        if settings.size != "any":
            low, high = np.quantile(volumes, _SIZES[settings.size])
        parents = set() if settings.same_subject else set(condition.source_subject_ids)
        middle = float(self.atlas.box_mm[:, 0].mean())
        found = [
            one
            for one in self.atlas.lesions
            if low <= one.volume_mm3 <= high
            and one.subject_id not in parents
            and (
                settings.side == "any" or (one.centre_mm[0] > middle) == (settings.side == "right")
            )
        ]
        if not found:
            raise DataError(
                f"placing lesions into case {condition.source.case_id}: none of the atlas' "
                f"{len(self.atlas.lesions)} lesions is {settings.size} in size, on the side "
                f"{settings.side}, and of another subject."
            )
        return found

    def _how_many(
        self, candidates: Sequence[Lesion], generator: np.random.Generator
    ) -> tuple[Sequence[Lesion], int]:
        """Return the lesions to choose from and how many are asked for."""
        subjects = list(dict.fromkeys(one.subject_id for one in candidates))
        donor = subjects[int(generator.integers(len(subjects)))]
        if self.settings.donors == "one":
            candidates = [one for one in candidates if one.subject_id == donor]
        if self.settings.count is not None:
            low, high = self.settings.count
            return candidates, int(generator.integers(low, high + 1))
        return candidates, self.atlas.counts[donor]

    def _host(self, volume: Volume) -> _Host:
        """Return a host with the lesions that it has already, or without any."""
        indices = index_map(volume.array, self.scheme)
        lesions = np.isin(indices, self._channels)
        if not self.settings.keep_own and lesions.any():
            indices = nearest_others(indices, lesions, volume.spacing_mm)
            lesions = np.zeros_like(lesions)
        return _Host(indices, lesions, volume, _head_box(volume))

    def _add(
        self,
        host: _Host,
        draws: Iterator[Lesion],
        condition: Condition,
        generator: np.random.Generator,
    ) -> None:
        """Put one lesion into a host, or leave it out after `max_draws` refusals."""
        for _ in range(self.settings.max_draws):
            lesion = next(draws)
            drawn, where = self._where(lesion, host, condition, generator)
            elastic = self.settings.elastic_mm if self.settings.placement == "sampled" else 0.0
            placed = place(
                lesion, where, host.volume.shape, elastic_mm=elastic, generator=generator
            )
            kept = None if placed is None else self._kept(placed, host)
            if isinstance(kept, Placed):
                self._write(host, kept, lesion, drawn)
                return
            host.refused[kept or "outside the grid"] += 1

    def _where(
        self, lesion: Lesion, host: _Host, condition: Condition, generator: np.random.Generator
    ) -> tuple[dict[str, Any], Place]:
        """Return what was drawn of a lesion's place, and the place."""
        if self.settings.placement == "common":
            return {}, AffinePlace(host.volume.affine)
        if self.settings.placement == "registered":
            return {}, RegisteredPlace(host.volume.affine, self.maps[condition.source.case_id])
        centre_mm = lesion.centre_mm + generator.normal(0.0, _JITTER_MM, 3)
        lower, upper = self.atlas.box_mm
        share = (centre_mm - lower) / (upper - lower)
        centre_mm = host.head_mm[0] + share * (host.head_mm[1] - host.head_mm[0])
        degrees = generator.uniform(-self.settings.degrees, self.settings.degrees, 3).round(2)
        scale = round(1.0 + float(generator.uniform(-self.settings.scale, self.settings.scale)), 4)
        rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        matrix = to_map(
            lesion, affine=host.volume.affine, centre_mm=centre_mm, rotation=rotation, scale=scale
        )
        drawn = {
            "centre_mm": centre_mm.round(1).tolist(),
            "degrees": degrees.tolist(),
            "scale": scale,
        }
        return drawn, AffinePlace(matrix)

    def _kept(self, placed: Placed, host: _Host) -> Placed | str:
        """Return what the rules leave of a lesion, or the rule that refuses it."""
        settings = self.settings
        under = host.indices[placed.box]
        inside = placed.classes > 0
        if (inside & self._table(settings.off)[under]).any():
            return "touches a forbidden structure"
        carried = inside & self._carriers[under]
        if carried.sum() < settings.least_inside * inside.sum() or not carried.any():
            return "outside the tissue"
        if _touches(carried, placed.box, host, gap_mm=settings.gap_mm):
            return "overlaps another lesion"
        volume_mm3 = float(carried.sum()) * float(np.prod(host.volume.spacing_mm))
        if not settings.volume_mm3[0] <= volume_mm3 <= settings.volume_mm3[1]:
            return "volume out of range"
        return Placed(placed.box, np.where(carried, placed.classes, 0).astype(np.uint8))

    def _table(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return by channel number whether a structure is among the named."""
        table = np.zeros(self.scheme.num_structures + 1, dtype=bool)
        table[[self.scheme.names.index(name) + 1 for name in names]] = True
        return table

    @property
    def _channels(self) -> list[int]:
        """Channel numbers of the atlas' structures in the scheme."""
        return [self.scheme.names.index(name) + 1 for name in self.atlas.structures]

    @property
    def _carriers(self) -> NDArray[np.bool_]:
        """By channel number, whether a lesion may lie there; never in the background."""
        return self._table(self.settings.inside or self.scheme.names)

    def _write(self, host: _Host, placed: Placed, lesion: Lesion, drawn: dict[str, Any]) -> None:
        """Write a lesion into its host, after pushing the tissue aside if asked."""
        if self.settings.mass_effect > 0:
            host.indices = pushed_aside(
                host.indices,
                placed,
                strength=self.settings.mass_effect,
                spacing_mm=host.volume.spacing_mm,
            )
            host.lesions = np.isin(host.indices, self._channels)
        inside = placed.classes > 0
        channels = np.array([0, *self._channels], dtype=np.uint8)
        host.indices[placed.box][inside] = channels[placed.classes[inside]]
        host.lesions[placed.box] |= inside
        host.placed.append(
            {"lesion": lesion.lesion_id, "voxels": int(np.count_nonzero(inside)), **drawn}
        )
        host.donors.append(lesion.subject_id)

    def _finished(self, condition: Condition, host: _Host, *, asked: int, tries: int) -> Condition:
        """Return the condition with what was placed."""
        affine = condition.label_map.affine
        mask = Volume(host.lesions.astype(np.uint8), affine)
        step = Step(
            self.name,
            {"placement": self.settings.placement, "lesions": host.placed},
            {
                "asked": float(asked),
                "placed": float(len(host.placed)),
                "tries": float(tries),
                **{f"refused: {name}": float(host.refused[name]) for name in sorted(host.refused)},
            },
        )
        return condition.changed(
            step,
            cases=sorted({one["lesion"] for one in host.placed}),
            subjects=sorted(set(host.donors)),
            label_map=Volume(from_index_map(host.indices, self.scheme), affine),
            channels={**condition.channels, "lesion": mask},
        )


def _head_box(volume: Volume) -> NDArray[np.float64]:
    """Return the lower and upper corner of all labels in world millimetres, [2, 3]."""
    box = ndimage.find_objects((volume.array > 0).astype(np.uint8))[0]
    ends = np.array([[part.start, part.stop - 1] for part in box], dtype=float).T  # [2, 3]
    world = ends @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return np.stack([world.min(axis=0), world.max(axis=0)])


def _touches(
    inside: NDArray[np.bool_], box: tuple[slice, slice, slice], host: _Host, *, gap_mm: float
) -> bool:
    """Return whether a lesion lies within a gap of one that is there already."""
    if gap_mm <= 0:
        return bool((inside & host.lesions[box]).any())
    by = math.ceil(gap_mm / min(host.volume.spacing_mm))
    near = padded_box(box, host.lesions.shape, by=by)
    others = host.lesions[near]
    if not others.any():
        return False
    away_mm = ndimage.distance_transform_edt(~others, sampling=host.volume.spacing_mm)
    within = tuple(
        slice(part.start - around.start, part.stop - around.start)
        for part, around in zip(box, near, strict=True)
    )
    return bool((inside & (away_mm[within] <= gap_mm)).any())
