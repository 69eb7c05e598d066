"""`lesions`: lesions of an atlas mixed into the label map of a host.

Host and donors are training subjects. Donors, their number and their places are drawn; rules say
what of a placed lesion is kept.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue
from scipy.spatial.transform import Rotation

from vcmaug.conditions.atlas import Atlas, AtlasSettings, Lesion
from vcmaug.conditions.base import Condition, Step
from vcmaug.conditions.builder import (
    Builder,
    Moves,
    Preparation,
    Ready,
    prepared_file,
    unknown_structures,
)
from vcmaug.conditions.host import Host, host_of
from vcmaug.conditions.placement import AffinePlace, Place, Placed, RegisteredPlace, place, to_map
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import write_text
from vcmaug.progress import Progress
from vcmaug.seeding import numpy_generator

if TYPE_CHECKING:
    from vcmaug.data.registration import Registration

__all__ = ["LesionMixing", "Lesions"]

_JITTER_MM = 6.0  # of a drawn place about the lesion of the atlas that it is taken from


class Lesions(Builder):
    """Which lesions, how many, where, and what they may touch."""

    name: Literal["lesions"] = "lesions"
    adds: ClassVar[tuple[str, ...]] = ("lesion",)

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
    least_placed: float = Field(0.5, ge=0, le=1, description="of the lesions requested for a case")
    max_tries: int = Field(5, ge=1, description="draws of a whole case before it is given up")

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return structures that are not in the scheme, and settings that contradict each other."""
        named = {"atlas.values": tuple(self.atlas.values), "inside": self.inside, "off": self.off}
        faults = unknown_structures(named, structures)
        if self.placement == "registered" and self.atlas.template is None:
            faults.append("placement registered needs atlas.template, an image in the atlas' space")
        clash = sorted(set(self.inside) & set(self.atlas.values))
        faults += [f"inside: {name!r} is a lesion itself" for name in clash]
        if len(set(self.atlas.values.values())) < len(self.atlas.values):
            faults.append("atlas.values: two structures share one value")
        if self.count is not None and not 1 <= self.count[0] <= self.count[1]:
            faults.append("count: expected two numbers with 1 <= first <= second")
        return faults

    def files(self) -> Mapping[str, Sequence[Path]]:
        """Return the masks of the atlas, and its template."""
        template = [] if self.atlas.template is None else [self.atlas.template]
        return {"atlas.source": self.atlas.masks(), "atlas.template": template}

    def learn(self, given: Preparation) -> None:
        """Index the atlas, and register the sources to its template if asked."""
        from vcmaug.conditions.atlas_index import (
            HostToTemplate,
            index_atlas,
            refuse_other_space,
            register_host,
        )

        path = prepared_file(given.folder, "atlas", self.atlas)  # of all builders with one atlas
        if not path.exists():
            given.report(Progress("indexing the atlas", 0, 1))
            atlas = index_atlas(self.atlas)
            write_text(path.with_suffix(".csv"), atlas.table().to_csv(index=False))
            atlas.write(path)
        atlas = Atlas.read(path)
        given.refuse_held_out(set(atlas.counts), f"a donor of {self.atlas.source}")
        if self.placement == "common":
            refuse_other_space(atlas, given.maps())
        if self.placement == "registered" and self.atlas.template is not None:
            pairs = [
                HostToTemplate(case.case_id, case.image, self.atlas.template.resolve(), out)
                for case in given.sources
                if not (out := _registration_file(path, case.case_id)).exists()
            ]
            given.run(register_host, pairs, doing="registering")

    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what mixes, with the atlas and the registrations of a folder."""
        from vcmaug.data.registration import Registration

        path = prepared_file(folder, "atlas", self.atlas)
        registrations = {
            case_id: Registration.read(_registration_file(path, case_id))
            for case_id in (cases if self.placement == "registered" else ())
        }
        return LesionMixing(self, scheme, Atlas.read(path), registrations)

    @classmethod
    def moves(cls, parameters: Mapping[str, JsonValue]) -> Moves:
        """Return that the map alone gets lesions; the image of the source shows none."""
        del parameters
        return "labels alone"


def _registration_file(atlas: Path, case_id: str) -> Path:
    """Return where the registration of a case to the template of an atlas is kept."""
    return atlas.with_suffix("") / f"{case_id}.npz"


@dataclass(frozen=True)
class LesionMixing:
    """Mixes lesions of an atlas into label maps.

    Attributes:
        settings: What may go where.
        scheme: Of the label maps; it holds the structures of the atlas.
        atlas: Indexed.
        registrations: Of each host to the atlas, by case; used by `registered`.
    """

    settings: Lesions
    scheme: LabelScheme
    atlas: Atlas
    registrations: "Mapping[str, Registration]" = field(default_factory=dict)

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition with lesions in its map, and in a channel `lesion` of their own.

        Raises:
            DataError: No draw of `max_tries` placed enough of them; the reasons are counted.
        """
        settings = self.settings
        candidates = self._candidates(condition)
        channels = [self.scheme.names.index(name) + 1 for name in self.atlas.structures]
        reasons: Counter[str] = Counter()
        for tries in range(1, settings.max_tries + 1):
            generator = numpy_generator(seed, "lesions", tries)
            chosen, count = self._how_many(candidates, generator)
            host = host_of(
                condition.label_map, self.scheme, channels=channels, keep_own=settings.keep_own
            )
            order = itertools.cycle(generator.permutation(len(chosen)).tolist())
            draws = (chosen[number] for number in order)
            for _ in range(count):
                self._add(host, draws, condition, generator)
            reasons += host.refused
            if len(host.placed) >= max(1, math.ceil(settings.least_placed * count)):
                return self._finished(condition, host, asked=count, tries=tries)
        listed = ", ".join(f"{name} {count}" for name, count in reasons.most_common())
        raise DataError(
            f"placing lesions into case {condition.source.case_id}: {settings.max_tries} draws "
            f"placed fewer than {settings.least_placed:.0%} of the lesions (refused: {listed}). "
            "Loosen inside, off, volume_mm3 or least_inside, or choose another placement."
        )

    def _candidates(self, condition: Condition) -> list[Lesion]:
        """Return the lesions that may go into a host.

        Raises:
            DataError: There is none.
        """
        settings = self.settings
        parents = () if settings.same_subject else condition.source_subject_ids
        found = self.atlas.chosen(settings.size, settings.side, without=parents)
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
        """Return the lesions to choose from and how many to place."""
        subjects = list(dict.fromkeys(one.subject_id for one in candidates))
        donor = subjects[int(generator.integers(len(subjects)))]
        if self.settings.donors == "one":
            candidates = [one for one in candidates if one.subject_id == donor]
        if self.settings.count is not None:
            low, high = self.settings.count
            return candidates, int(generator.integers(low, high + 1))
        return candidates, self.atlas.counts[donor]

    def _add(
        self,
        host: Host,
        draws: Iterator[Lesion],
        condition: Condition,
        generator: np.random.Generator,
    ) -> None:
        """Put one lesion into a host, or leave it out after `max_draws` refusals."""
        settings = self.settings
        elastic_mm = settings.elastic_mm if settings.placement == "sampled" else 0.0
        for _ in range(settings.max_draws):
            lesion = next(draws)
            drawn, where = self._where(lesion, host, condition, generator)
            placed = place(
                lesion, where, host.volume.shape, elastic_mm=elastic_mm, generator=generator
            )
            kept = "outside the grid" if placed is None else self._kept(placed, host)
            if isinstance(kept, Placed):
                host.write(kept, lesion, drawn, mass_effect=settings.mass_effect)
                return
            host.refused[kept] += 1

    def _where(
        self, lesion: Lesion, host: Host, condition: Condition, generator: np.random.Generator
    ) -> tuple[dict[str, JsonValue], Place]:
        """Return what was drawn of a lesion's place, and the place."""
        settings, affine = self.settings, host.volume.affine
        if settings.placement == "common":
            return {}, AffinePlace(affine)
        if settings.placement == "registered":
            return {}, RegisteredPlace(affine, self.registrations[condition.source.case_id])
        centre_mm = lesion.centre_mm + generator.normal(0.0, _JITTER_MM, 3)
        lower, upper = self.atlas.box_mm
        share = (centre_mm - lower) / (upper - lower)
        centre_mm = host.head_mm[0] + share * (host.head_mm[1] - host.head_mm[0])
        degrees = generator.uniform(-settings.degrees, settings.degrees, 3).round(2)
        scale = round(1.0 + float(generator.uniform(-settings.scale, settings.scale)), 4)
        rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        matrix = to_map(lesion, affine=affine, centre_mm=centre_mm, rotation=rotation, scale=scale)
        drawn = {
            "centre_mm": centre_mm.round(1).tolist(),
            "degrees": degrees.tolist(),
            "scale": scale,
        }
        return drawn, AffinePlace(matrix)

    def _kept(self, placed: Placed, host: Host) -> Placed | str:
        """Return what the rules leave of a lesion, or the rule that refuses it."""
        settings = self.settings
        under = host.indices[placed.box]
        inside = placed.classes > 0
        if (inside & self._is_among(settings.off)[under]).any():
            return "touches a forbidden structure"
        carried = inside & self._is_among(settings.inside or self.scheme.names)[under]
        if carried.sum() < settings.least_inside * inside.sum() or not carried.any():
            return "outside the tissue"
        if host.touches(carried, placed.box, gap_mm=settings.gap_mm):
            return "overlaps another lesion"
        volume_mm3 = float(carried.sum()) * float(np.prod(host.volume.spacing_mm))
        if not settings.volume_mm3[0] <= volume_mm3 <= settings.volume_mm3[1]:
            return "volume out of range"
        return Placed(placed.box, np.where(carried, placed.classes, 0).astype(np.uint8))

    def _is_among(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return by channel number whether a structure is among the named; 0 never is."""
        return np.isin(["", *self.scheme.names], names)

    def _finished(self, condition: Condition, host: Host, *, asked: int, tries: int) -> Condition:
        """Return the condition with what was placed."""
        affine = condition.label_map.affine
        step = Step(
            self.settings.name,
            {"placement": self.settings.placement, "lesions": host.records},
            {
                "asked": float(asked),
                "placed": float(len(host.placed)),
                "tries": float(tries),
                **{f"refused: {name}": float(host.refused[name]) for name in sorted(host.refused)},
            },
        )
        return condition.changed(
            step,
            cases=sorted({lesion.lesion_id for lesion in host.placed}),
            subjects=sorted({lesion.subject_id for lesion in host.placed}),
            label_map=Volume(self.scheme.label_map(host.indices), affine),
            channels={
                **condition.channels,
                "lesion": Volume(host.lesions.astype(np.uint8), affine),
            },
        )
