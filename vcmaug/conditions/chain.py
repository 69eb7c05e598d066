"""Chains of builders: their settings, their order, and every fault in them at once.

What it is: the composition of builders in a recipe, and what is prepared before they build.
In the flow: a recipe names chains; `build` takes them in turns by weight.
Sources: none.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from vcmaug.conditions.atlas import Atlas
from vcmaug.conditions.base import Builder
from vcmaug.conditions.lesions import Lesions, LesionsSettings
from vcmaug.conditions.lowres import LowRes, LowResSettings
from vcmaug.conditions.modalities import LABEL_MAP, Modalities, ModalitiesSettings
from vcmaug.conditions.perturb import Perturb, PerturbSettings
from vcmaug.conditions.scalars import ScalarSettings
from vcmaug.conditions.shape_builder import ShapeModelBuilder, ShapeModelSettings
from vcmaug.conditions.shape_model import ShapeModel
from vcmaug.config import Settings
from vcmaug.data.labels import LabelScheme
from vcmaug.data.mirror import lone_sides
from vcmaug.data.registration import WorldMap
from vcmaug.provenance import fingerprint

__all__ = [
    "Chain",
    "ConditionSettings",
    "StepSettings",
    "builders_of",
    "chain_of",
    "faults_of",
    "is_warp",
    "map_file",
    "missing_files",
    "prepared_file",
    "steps_of",
]

StepSettings = (
    PerturbSettings | ShapeModelSettings | LesionsSettings | LowResSettings | ModalitiesSettings
)
Prepared = TypeVar("Prepared")


class Chain(Settings):
    """Builders that are applied one after the other to a source."""

    weight: int = Field(1, ge=1, description="how often it has its turn, next to the others")
    steps: tuple[Annotated[StepSettings, Field(discriminator="builder")], ...] = Field(min_length=1)


class ConditionSettings(Settings):
    """How conditions are made."""

    chains: tuple[Chain, ...] = Field(
        (Chain(steps=(PerturbSettings(),)),), min_length=1, description="they take turns by weight"
    )
    inherit: tuple[str, ...] = Field(
        ("age", "sex"), description="columns of the case table that a condition takes over"
    )
    scalars: ScalarSettings = ScalarSettings()


def chain_of(settings: ConditionSettings, index: int) -> tuple[int, int]:
    """Return the chain of a condition, and how often that chain has had its turn before.

    Chains take turns one by one until each has had as many as its weight, again and again.

    Examples:
        >>> steps = [{"builder": "perturb"}]
        >>> two = ConditionSettings(chains=[{"steps": steps}, {"weight": 2, "steps": steps}])
        >>> [chain_of(two, index) for index in range(4)]
        [(0, 0), (1, 0), (1, 1), (0, 1)]
    """
    weights = [chain.weight for chain in settings.chains]
    order = [
        number
        for turn in range(max(weights))
        for number, weight in enumerate(weights)
        if turn < weight
    ]
    rounds, place = divmod(index, len(order))
    chosen = order[place]
    return chosen, rounds * weights[chosen] + order[:place].count(chosen)


def is_warp(chain: Chain) -> bool:
    """Return whether a chain only bends, turns and mirrors, so that an image can follow.

    What is shown of the result does not matter.
    """
    first, *others = chain.steps
    bends = isinstance(first, PerturbSettings) and not first.resize
    return bends and all(isinstance(one, ModalitiesSettings | LowResSettings) for one in others)


def steps_of(settings: ConditionSettings) -> list[StepSettings]:
    """Return the settings of all steps of all chains."""
    return [step for chain in settings.chains for step in chain.steps]


def faults_of(settings: ConditionSettings, names: Sequence[str]) -> list[str]:
    """Return everything in chains that does not fit a label scheme or another step.

    Args:
        settings: Chains of builders.
        names: Structures of the scheme.
    """
    faults = []
    for number, chain in enumerate(settings.chains):
        made: set[str] = set()
        moved = ""
        for place, step in enumerate(chain.steps):
            where = f"chains.{number}.steps.{place} ({step.builder})"
            faults += [f"{where}: {fault}" for fault in _faults_of_step(step, names)]
            if moved and (isinstance(step, LowResSettings) or _images_of(step, made)):
                faults.append(
                    f"{where}: it passes on images, which cannot follow {moved} before it; use "
                    "perturb without resize"
                )
            if isinstance(step, ShapeModelSettings) or (
                isinstance(step, PerturbSettings) and step.resize
            ):
                moved = step.builder
            made |= _made_by(step)
    return faults


def _faults_of_step(step: StepSettings, names: Sequence[str]) -> list[str]:
    """Return what is wrong with one step on its own."""
    named: dict[str, Sequence[str]] = {}
    if isinstance(step, PerturbSettings):
        named = {"resize": tuple(step.resize)}
    elif isinstance(step, ShapeModelSettings):
        named = {"structures": step.structures or (), "volumes_mm3": tuple(step.volumes_mm3)}
    elif isinstance(step, LesionsSettings):
        named = {
            "atlas.values": tuple(step.atlas.values),
            "inside": step.inside,
            "off": step.off,
        }
    elif isinstance(step, ModalitiesSettings):
        partial = step.partial.values()
        named = {"partial": [name for one in partial for name in (*one.remove, *one.keep)]}
    faults = [
        f"{field}: found {name!r}, expected a structure of the scheme ({', '.join(names)})"
        for field, found in named.items()
        for name in found
        if name not in names
    ]
    if isinstance(step, PerturbSettings) and step.flip_probability > 0:
        faults += [f"flip_probability: {fault}; set it to 0" for fault in lone_sides(names)]
    if isinstance(step, LesionsSettings):
        faults += _faults_of_lesions(step)
    if isinstance(step, ModalitiesSettings):
        unknown = sorted(step.named() - set(step.channels))
        faults += [f"{name!r} is not among its channels" for name in unknown]
    if isinstance(step, ShapeModelSettings) and step.structures is not None:
        faults += [
            f"volumes_mm3: {name!r} is not among the structures that are drawn"
            for name in step.volumes_mm3
            if name not in step.structures
        ]
    return faults


def _faults_of_lesions(step: LesionsSettings) -> list[str]:
    """Return what is wrong with the settings of lesions."""
    faults = []
    if step.placement == "registered" and step.atlas.template is None:
        faults.append("placement registered needs atlas.template, an image in the atlas' space")
    clash = sorted(set(step.inside) & set(step.atlas.values))
    faults += [f"inside: {name!r} is a lesion itself" for name in clash]
    if len(set(step.atlas.values.values())) < len(step.atlas.values):
        faults.append("atlas.values: two structures share one value")
    if step.count is not None and not 1 <= step.count[0] <= step.count[1]:
        faults.append("count: expected two numbers with 1 <= first <= second")
    return faults


def missing_files(settings: ConditionSettings) -> list[str]:
    """Return every file that chains name and that is not there."""
    faults = []
    for step in steps_of(settings):
        if isinstance(step, LesionsSettings):
            for name in ("source", "template"):
                path = getattr(step.atlas, name)
                if path is not None and not path.exists():
                    faults.append(f"lesions: atlas.{name}: there is no {path}")
    return faults


def _images_of(step: StepSettings, made: set[str]) -> set[str]:
    """Return the images of the source that a step passes on."""
    if not isinstance(step, ModalitiesSettings):
        return set()
    return set(step.channels) - {LABEL_MAP} - made


def _made_by(step: StepSettings) -> set[str]:
    """Return the channels that a step adds."""
    if isinstance(step, LesionsSettings):
        return {"lesion"}
    return {"lowres"} if isinstance(step, LowResSettings) else set()


def prepared_file(folder: Path, step: StepSettings) -> Path:
    """Return where what a step needs is kept: its shape model, or its atlas."""
    name = "atlas" if isinstance(step, LesionsSettings) else step.builder
    content = step.atlas if isinstance(step, LesionsSettings) else step
    return folder / "prepared" / f"{name}-{fingerprint(content.model_dump(mode='json'))[:12]}.npz"


def map_file(folder: Path, step: LesionsSettings, case_id: str) -> Path:
    """Return where the registration of a case to the template of an atlas is kept."""
    return prepared_file(folder, step).with_suffix("") / f"{case_id}.npz"


def builders_of(
    settings: ConditionSettings, scheme: LabelScheme, folder: Path, *, cases: Sequence[str]
) -> list[list[Builder]]:
    """Return the builders of each chain, with what was prepared for them.

    Args:
        settings: Chains of builders.
        scheme: Of the label maps.
        folder: Of the conditions; holds `prepared/`.
        cases: Ids of the sources.
    """
    make: Mapping[type, Callable[..., Builder]] = {
        PerturbSettings: Perturb,
        LowResSettings: LowRes,
        ModalitiesSettings: Modalities,
    }

    def built(step: StepSettings) -> Builder:
        if isinstance(step, ShapeModelSettings):
            return ShapeModelBuilder(step, scheme, ShapeModel.read(prepared_file(folder, step)))
        if isinstance(step, LesionsSettings):
            return Lesions(
                step, scheme, Atlas.read(prepared_file(folder, step)), _maps(step, folder, cases)
            )
        return make[type(step)](step, scheme)

    return [[built(step) for step in chain.steps] for chain in settings.chains]


def _maps(step: LesionsSettings, folder: Path, cases: Sequence[str]) -> dict[str, WorldMap]:
    """Return the registrations of the sources, where places are found by registration."""
    if step.placement != "registered":
        return {}
    return {case_id: WorldMap.read(map_file(folder, step, case_id)) for case_id in cases}
