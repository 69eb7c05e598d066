"""The family of builders: what turns a labelled case into something to draw an image for.

A builder is its settings. It says what is wrong with them, which files it reads, what it learns
once per folder, what it does to a condition, and how an image follows what it did.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

from pydantic import BeforeValidator, JsonValue

from vcmaug.conditions.base import Condition, SourceMap, Step, source_map
from vcmaug.config import Settings
from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import read_image
from vcmaug.data.volume import Volume, other_grid
from vcmaug.errors import DataError
from vcmaug.parts import Part
from vcmaug.progress import Report
from vcmaug.provenance import fingerprint

__all__ = [
    "Builder",
    "Moves",
    "Preparation",
    "Range",
    "Ready",
    "Runner",
    "aligned_image",
    "followed",
    "grown_values",
    "images_fit",
    "images_followed",
    "prepared_file",
    "unknown_structures",
]

_BEYOND = 1e-3  # of [0, 1], by rounding


def _both_ends(value: object) -> object:
    """Return one number as both ends of a range."""
    return (value, value) if isinstance(value, int | float) else value


Range = Annotated[tuple[float, float], BeforeValidator(_both_ends)]
"""Two numbers between which one is drawn; a single number is exact."""

Moves = Literal["nothing", "images follow", "labels alone", "no image follows"]
"""What a step does to outlines: nothing; it deforms them, and `follow` deforms an image alike; it
writes labels that the image does not show, though the image keeps its place; or it deforms them as
no image can follow."""


class Runner(Protocol):
    """Runs a function over pieces of work, on workers where there are any."""

    def __call__(
        self, function: Callable[[Any], None], items: Sequence[Any], *, doing: str
    ) -> None:
        """Run it.

        Args:
            function: Importable by name.
            items: Small and picklable; their `str` names them in messages.
            doing: A word for the progress bar.
        """
        ...


@dataclass(frozen=True)
class Preparation:
    """What a builder has at hand to prepare itself, once per folder of conditions.

    Attributes:
        sources: Labelled training cases.
        scheme: Of their label maps.
        folder: Of the conditions.
        run: Runs work on the workers.
        report: Told of progress.
        refuse_held_out: Given subjects and what they are, raises `LeakError` where one of them
            belongs to validation or test.
    """

    sources: Sequence[Case]
    scheme: LabelScheme
    folder: Path
    run: Runner
    report: Report
    refuse_held_out: Callable[[Collection[str], str], None]

    def maps(self) -> list[SourceMap]:
        """Return the label maps of all sources."""
        return [source_map(case) for case in self.sources]


class Ready(Protocol):
    """A builder with its scheme and what it has learned; pure but for condition and seed."""

    def build(self, condition: Condition, *, seed: int) -> Condition:
        """Return the condition after this builder's step."""
        ...


class Builder(Part):
    """The base of all builders.

    Attributes:
        adds: Channels that it makes.
        measures_source: Its steps go by the source's own label map, so it comes first in a chain.
    """

    family: ClassVar[str] = "builder"
    home: ClassVar[str] = "vcmaug.conditions.builders"
    renamed: ClassVar[Mapping[str, str]] = {"builder": "name"}
    adds: ClassVar[tuple[str, ...]] = ()
    measures_source: ClassVar[bool] = False

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return what is wrong with the settings, for the structures of a scheme."""
        del structures
        return []

    def files(self) -> Mapping[str, Sequence[Path]]:
        """Return the files behind each setting that names some; the files of a folder one by one.

        A file that is not there stands for itself.
        """
        return {}

    def missing(self) -> list[str]:
        """Return, one sentence each, the files that are not there."""
        return [
            f"{self.name}: {setting}: there is no {path}"
            for setting, paths in self.files().items()
            for path in paths
            if not path.exists()
        ]

    def passes_on(self, made: Set[str]) -> Set[str]:
        """Return the images of a source that it needs, moved as the map was.

        Args:
            made: Channels that earlier builders have made.
        """
        del made
        return frozenset()

    def channels_after(self, before: Sequence[str]) -> tuple[str, ...]:
        """Return the channels that a control is shown after this builder, in order."""
        return tuple(dict.fromkeys((*before, *self.adds)))

    def for_training(self) -> Self:
        """Return the builder that makes all channels of a training case."""
        return self

    def learn(self, given: Preparation) -> None:
        """Prepare whatever `ready` needs, in the folder; what is there is kept.

        Raises:
            LeakError: A subject of validation or test would go into conditions.
            DataError: The sources do not fit.
        """

    @abstractmethod
    def ready(
        self, scheme: LabelScheme, *, folder: Path | None = None, cases: Sequence[str] = ()
    ) -> Ready:
        """Return what builds.

        Args:
            scheme: Of the label maps.
            folder: Of the conditions, with what was learned; None for builders that learn nothing.
            cases: Ids of the sources.
        """

    @property
    def will_move(self) -> Moves:
        """What its steps will do to outlines."""
        return self.moves(self.model_dump(mode="json"))

    @classmethod
    def moves(cls, parameters: Mapping[str, JsonValue]) -> Moves:
        """Return what a step does to outlines.

        Args:
            parameters: As the step has recorded them, or the settings of a builder by name.
        """
        del parameters
        return "nothing"

    @classmethod
    def grew(cls, parameters: Mapping[str, JsonValue]) -> frozenset[int]:
        """Return the values of the structures that a step made larger, as it was recorded."""
        del parameters
        return frozenset()

    @classmethod
    def constants(cls, parameters: Mapping[str, JsonValue]) -> str:
        """Return what two steps share that changed the sizes of structures in one way; or nothing.

        A segmenter that has learned from the one is flattered by the other.
        """
        del parameters
        return ""

    @classmethod
    def follow(
        cls,
        volume: Volume,
        parameters: Mapping[str, JsonValue],
        *,
        source: Volume | None = None,
        classes: bool = False,
    ) -> Volume:
        """Return a volume deformed as the map was; on the same grid.

        Args:
            volume: Of the source, before the step.
            parameters: As the step has recorded them.
            source: The source's own label map.
            classes: Its values are numbers of classes, which are not interpolated.
        """
        del parameters, source, classes
        return volume


def images_fit(moves: Iterable[Moves]) -> bool:
    """Return whether steps deform an image and its map alike, and do deform them.

    Examples:
        >>> images_fit(["images follow", "nothing"]), images_fit(["nothing"])
        (True, False)
    """
    found = set(moves)
    return "images follow" in found and found <= {"nothing", "images follow"}


def images_followed(steps: Iterable[Step]) -> bool:
    """Return whether steps deformed an image and its map alike, and did deform them."""
    return images_fit(Builder.named(step.builder).moves(step.parameters) for step in steps)


def grown_values(steps: Iterable[Step]) -> frozenset[int]:
    """Return the values of the structures that steps have made larger."""
    return frozenset[int]().union(
        *(Builder.named(step.builder).grew(step.parameters) for step in steps)
    )


def followed(
    volume: Volume, steps: Sequence[Step], *, source: Volume | None = None, classes: bool = False
) -> Volume:
    """Return a volume of a source after the steps of a condition, on the same grid.

    Args:
        volume: Of the source.
        steps: Of the condition.
        source: The source's own label map, for steps that measured it.
        classes: Its values are numbers of classes, which are not interpolated.
    """
    for step in steps:
        builder = Builder.named(step.builder)
        volume = builder.follow(volume, step.parameters, source=source, classes=classes)
    return volume


def aligned_image(condition: Condition, name: str) -> Volume:
    """Return an image of the source as the condition's steps have moved it, float32.

    Raises:
        DataError: The image is not there, not on the map's grid, not between 0 and 1, or a step
            moved outlines in a way that no image can follow.
    """
    source = condition.source
    if name not in source.images:
        raise DataError(f"case {source.case_id}: it has no image {name!r}.")
    for step in condition.steps:
        if Builder.named(step.builder).moves(step.parameters) == "no image follows":
            raise DataError(
                f"condition {condition.condition_id}: its image {name!r} cannot follow what "
                f"{step.builder} did to the outlines. Use perturb without resize before a builder "
                "of images."
            )
    stored = source.images[name]
    where = f"case {source.case_id}, {name if isinstance(stored, Volume) else stored}"
    image = stored if isinstance(stored, Volume) else read_image(stored, case_id=source.case_id)
    if differs := other_grid(image, than=source.label_map):
        raise DataError(f"{where}: its grid is not that of the label map: {differs}.")
    low, high = float(image.array.min()), float(image.array.max())
    if low < -_BEYOND or high > 1 + _BEYOND:
        raise DataError(
            f"{where}: its values lie between {low:g} and {high:g}, expected 0 to 1. Build "
            "conditions from prepared cases (vcmaug prepare)."
        )
    return followed(image, condition.steps, source=source.label_map)


def unknown_structures(named: Mapping[str, Sequence[str]], structures: Sequence[str]) -> list[str]:
    """Return, one sentence each, the structures that settings name and a scheme lacks.

    Args:
        named: Structures by setting.
        structures: Of the scheme.
    """
    return [
        f"{setting}: found {name!r}, expected a structure of the scheme ({', '.join(structures)})"
        for setting, names in named.items()
        for name in names
        if name not in structures
    ]


def prepared_file(folder: Path | None, name: str, settings: Settings) -> Path:
    """Return where a builder keeps what it learned with some settings.

    Args:
        folder: Of the conditions.
        name: Of what was learned.
        settings: Those that decide about it.

    Raises:
        DataError: There is no folder.
    """
    if folder is None:
        raise DataError(
            f"making conditions with {name}: no folder with what was learned for it is given. Use "
            "`vcmaug.conditions` or `vcmaug build-conditions`."
        )
    return folder / "prepared" / f"{name}-{fingerprint(settings.model_dump(mode='json'))[:12]}.npz"
