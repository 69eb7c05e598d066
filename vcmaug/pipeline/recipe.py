"""A recipe: everything a study needs, in one YAML file with profiles.

It composes the settings of all rooms, and `read_recipe` reports every fault of the file at once.
The data alone make one: what is not said is as it was measured to work on such a grid.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from vcmaug.arms.base import Arm
from vcmaug.arms.real import Real
from vcmaug.arms.real_again import RealAgain
from vcmaug.arms.synthetic import Synthetic
from vcmaug.conditions.builder import unknown_structures
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.config import (
    RecipePath,
    Settings,
    beside_the_recipe,
    merged,
    parse_settings,
    read_yaml,
)
from vcmaug.control.method import ControlMethod
from vcmaug.control.methods.vcm import VCM
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.geometry import Grid
from vcmaug.data.prepare import DataSettings
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.sides import side_faults
from vcmaug.data.splits import SplitSettings
from vcmaug.downstream.settings import FitSettings, StudySettings
from vcmaug.errors import RecipeError
from vcmaug.gates.base import GateSettings
from vcmaug.generate.plan import GenerateSettings
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.ldm.schedules.epsilon import EpsilonSchedule
from vcmaug.ldm.spec import PriorSpec
from vcmaug.pipeline.defaults import completed
from vcmaug.quality.metrics.base import Metric
from vcmaug.quality.run import METRICS
from vcmaug.training.settings import ControlTraining, PriorTraining
from vcmaug.zoo import zoo_entries, zoo_folder

__all__ = ["Recipe", "read_recipe"]

POPULATION = "population"
"""As `data.source`: the embedded population, made in the work folder."""


class PopulationSettings(Settings):
    """The embedded population, for a demonstration without data."""

    num_subjects: int = Field(ge=3)
    seed: int = 0


class DataRecipe(DataSettings):
    """The data; the source is a path, or the word for the embedded population."""

    @field_validator("source")
    @classmethod
    def _beside_the_recipe(cls, value: str, info: ValidationInfo) -> str:
        """Return the source as it is meant: a relative path begins at the recipe's folder."""
        return value if value == POPULATION else str(beside_the_recipe(Path(value), info))


class PriorRecipe(Settings):
    """The prior: one of the zoo, one in a folder, or one to train."""

    zoo: str | None = Field(None, description="name of a prior in the zoo")
    folder: RecipePath | None = Field(
        None, description="of a finished prior: an imported one, or WORK/prior of another recipe"
    )
    spec: PriorSpec | None = None
    training: PriorTraining = PriorTraining()
    seed: int | None = Field(None, description="of its training; None: the recipe's")
    licence: str = Field("", description="SPDX expression for weights trained on this data")

    @model_validator(mode="after")
    def _one_source(self) -> "PriorRecipe":
        """Refuse none and more than one."""
        if [self.zoo, self.folder, self.spec].count(None) != 2:
            raise ValueError(
                "give exactly one of zoo (a prior of the zoo), folder (a finished prior) and spec "
                "(one to train)"
            )
        return self

    @property
    def source(self) -> Path | None:
        """Folder of the prior that is brought, or None for one to train."""
        if self.zoo is not None:
            return zoo_folder(self.zoo)
        return self.folder

    @property
    def spec_to_train(self) -> PriorSpec:
        """What to build and train.

        Raises:
            RecipeError: The prior is brought.
        """
        if self.spec is None:
            raise RecipeError("training a prior: the recipe brings a finished one (zoo or folder).")
        return self.spec

    @property
    def known_spec(self) -> PriorSpec | None:
        """What is trained, or what the card says of what is brought; None: no card is there."""
        if self.source is None or not (self.source / "card.json").exists():
            return self.spec
        return read_card(self.source, PriorCard).spec

    @property
    def scalars(self) -> tuple[ScalarSpec, ...]:
        """The scalars that the prior knows; none where its card is not there."""
        return self.known_spec.scalars if self.known_spec else ()


class ControlRecipe(Settings):
    """The control of each replicate; the name of a method alone will do."""

    network: ControlMethod = VCM()
    shows: ChannelSettings = ChannelSettings()
    training: ControlTraining = ControlTraining()
    start_from: str | None = Field(
        None, description="a control on the same prior: its name in the zoo, or its folder"
    )
    licence: str = ""
    look_every: int = Field(
        0, ge=0, description="updates between pictures of what it draws; 0: none"
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Take the name of a method for its default networks."""
        return {"network": value} if isinstance(value, str) else value

    @field_validator("start_from")
    @classmethod
    def _beside_the_recipe(cls, value: str | None, info: ValidationInfo) -> str | None:
        """Return a name of the zoo, or a path; a relative one begins at the recipe's folder."""
        if value is None or value in zoo_entries():
            return value
        return str(beside_the_recipe(Path(value), info))

    @property
    def source(self) -> Path | None:
        """Folder of the control to start from, or None."""
        if self.start_from in zoo_entries():
            return zoo_folder(self.start_from)
        return None if self.start_from is None else Path(self.start_from)


S = TypeVar("S", bound=Settings)


def _only(kind: type[S], settings: S) -> S:
    """Return those settings of a section of the recipe that are of another room."""
    return kind(**{name: getattr(settings, name) for name in kind.model_fields})


class ConditionRecipe(ConditionSettings):
    """The conditions of each replicate."""

    n: int = Field(200, ge=1, description="how many")
    lazy: bool = Field(False, description="write tables only; maps are made when they are needed")
    grid: Grid | None = Field(
        None,
        description="on which builders work, before what they make is brought to that of the data: "
        "whole heads, where the data are crops of them",
    )

    @property
    def of_builders(self) -> ConditionSettings:
        """What builders are told."""
        return _only(ConditionSettings, self)


class GenerateRecipe(GenerateSettings):
    """The cohort of each replicate."""

    n: int = Field(200, ge=1, description="how many cases")

    @property
    def of_plan(self) -> GenerateSettings:
        """How each case is drawn."""
        return _only(GenerateSettings, self)


class StudyRecipe(StudySettings):
    """The study, and its arms with their settings."""

    arms: tuple[Arm, ...] = Field((Real(), RealAgain(), Synthetic()), min_length=1)

    @field_validator("arms")
    @classmethod
    def _each_once(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        """Refuse an arm that stands twice, since results are known by its name."""
        twice = sorted({arm.name for arm in arms if [one.name for one in arms].count(arm.name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands twice; an arm has one place in a study")
        return arms


class Recipe(Settings):
    """A whole study."""

    renamed: ClassVar[Mapping[str, str]] = {"reader": "evaluator"}
    gone: ClassVar[Mapping[str, str]] = {
        "rivals": "settings of an arm stand with it, such as "
        "study.arms: [real, {name: real+copy-paste, structures: [lesion]}]",
    }

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    caveat: str = Field("", description="stands at the top of the report")
    simulated: str = Field("", description="what is simulated in the real images; in every caption")
    data_note: str = Field("", description="source and licence of the data, for cards and report")
    seed: int = 0
    population: PopulationSettings | None = None
    data: DataRecipe
    splits: SplitSettings = SplitSettings()
    prior: PriorRecipe = Field(description="without zoo, folder and spec: one to train")
    control: ControlRecipe = ControlRecipe()
    conditions: ConditionRecipe = ConditionRecipe()
    generate: GenerateRecipe = GenerateRecipe()
    evaluator: FitSettings = Field(FitSettings(), description="training of the evaluator")
    metrics: tuple[Metric, ...] = Field(METRICS, description="measured of each cohort")
    study: StudyRecipe = StudyRecipe()
    gates: GateSettings = GateSettings()

    @model_validator(mode="before")
    @classmethod
    def _as_measured(cls, value: object) -> object:
        """Take what fits the grid of the data where the recipe says nothing."""
        return completed(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _sections_fit(self) -> "Recipe":
        """Refuse sections that do not fit each other, each fault in a sentence."""
        found = []
        if (self.data.source == POPULATION) != (self.population is not None):
            found.append(f"data.source: {POPULATION} and the section population go together")
        flipped = [name for name, flip in self._flips_of_structures().items() if flip]
        if flipped and (sides := side_faults(tuple(self.data.scheme))):
            found.append(f"{' and '.join(flipped)}: {'; '.join(sides)}; set it to false")
        spec, draws = self.prior.known_spec, self.generate
        schedule = spec.schedule if spec else EpsilonSchedule()
        trained = self.control.training.trained_on(schedule)
        acts = min(draws.sampler.start_on(schedule), draws.interval[1])
        if acts > trained:
            found.append(
                f"control.training.timesteps is {trained}, and draws are steered from {acts} of "
                "the schedule on: make it as high, or lower generate.sampler.start or interval"
            )
        if spec is not None and (fault := spec.guidance_fault(draws.guidance)):
            found.append(f"generate: {fault}")
        found += unknown_structures({"study.endpoints": self.study.endpoints}, [*self.data.scheme])
        if faults := self.conditions.faults(tuple(self.data.scheme)):
            found.append("conditions: " + "; ".join(faults))
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def sources(self) -> list[Path]:
        """The files and folders that are read and are nobody's to write."""
        data = [] if self.population is not None else [self.data.path]
        models = [self.prior.folder, self.data.label_values_file, self.control.source]
        return [*data, *filter(None, models), *self.conditions.paths]

    def _flips_of_structures(self) -> dict[str, bool]:
        """Return the flips by which structures, or their volumes as scalars, change places."""
        to_train = self.prior.spec
        measured = to_train is not None and any(one.structures for one in to_train.scalars)
        return {
            "prior.training.diffusion.flip": measured and self.prior.training.diffusion.flip,
            "control.training.flip": self.control.training.flip,
            "study.augment.flip": self.study.augment.flip,
        }


def read_recipe(path: Path, *, profile: str | None = None) -> Recipe:
    """Return a recipe with one of its profiles laid over it; relative paths start at the file.

    Args:
        path: The YAML file.
        profile: A name under `profiles`, or None for the recipe as it is.

    Raises:
        RecipeError: Names every fault of the file.
    """
    content = read_yaml(path)
    profiles = content.pop("profiles", None) or {}
    if profile is not None:
        if profile not in profiles:
            raise RecipeError(
                f"reading recipe {path}: no profile {profile!r}; it has "
                f"{', '.join(profiles) or 'none'}."
            )
        content = merged(content, profiles[profile])
    folder = path.resolve().parent
    content.setdefault("name", _name_of(path.resolve()))
    _take_sampler_of_prior(content, folder)
    return parse_settings(Recipe, content, source=f"recipe {path}", folder=folder)


def _name_of(path: Path) -> str:
    """Return the name of a recipe that states none: that of its file, or of its folder."""
    name = path.parent.name if path.stem == "recipe" else path.stem
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _take_sampler_of_prior(content: dict[str, Any], recipes: Path) -> None:
    """Where no sampler is named, take the one that the prior's frontier chose, in place."""
    prior, generate = content.get("prior"), content.setdefault("generate", {})
    if not isinstance(prior, dict) or not isinstance(generate, dict):
        return
    zoo, folder = prior.get("zoo"), prior.get("folder")
    source = zoo_folder(zoo) if zoo in zoo_entries() else recipes / str(folder) if folder else None
    if source is not None and (source / "card.json").exists():
        chosen = read_card(source, PriorCard).sampler
        if chosen is not None:
            generate.setdefault("sampler", dict(chosen))
