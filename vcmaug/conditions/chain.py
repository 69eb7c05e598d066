"""Chains of builders: their order, their turns, and every fault in them at once."""

from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator

from vcmaug.conditions.builder import Builder, Moves, images_fit
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.scalars import ScalarSettings
from vcmaug.config import Settings

__all__ = [
    "Chain",
    "ConditionSettings",
    "chain_of",
    "faults_of",
    "files_of_steps",
    "images_can_follow",
    "missing_files",
    "steps_of",
]


class Chain(Settings):
    """Builders that are applied one after the other to a source."""

    weight: int = Field(1, ge=1, description="how often it has its turn, next to the others")
    steps: tuple[Builder, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_steps(cls, value: object) -> object:
        """Take a list of builders for a chain of weight 1."""
        return {"steps": value} if isinstance(value, list | tuple) else value


class ConditionSettings(Settings):
    """How conditions are made."""

    chains: tuple[Chain, ...] = Field(
        (Chain(steps=(Perturb(),)),), min_length=1, description="they take turns by weight"
    )
    inherit: tuple[str, ...] = Field(
        ("age", "sex"), description="columns of the case table that a condition takes over"
    )
    scalars: ScalarSettings = ScalarSettings()

    @model_validator(mode="before")
    @classmethod
    def _of_one(cls, value: object) -> object:
        """Take one builder, or its name, for a chain of it alone."""
        return value if isinstance(value, cls | Mapping) else {"chains": ((value,),)}


def chain_of(settings: ConditionSettings, index: int) -> tuple[int, int]:
    """Return the chain of a condition, and how often that chain has had its turn before.

    Chains take turns one by one until each has had as many as its weight, again and again.

    Examples:
        >>> two = ConditionSettings(
        ...     chains=[{"steps": ["perturb"]}, {"weight": 2, "steps": ["perturb"]}]
        ... )
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


def _moves(builder: Builder) -> Moves:
    """Return what a builder's steps will do to outlines."""
    return builder.moves(dict(builder))


def images_can_follow(chain: Chain) -> bool:
    """Return whether the image of a source, deformed as the map, fits what the chain makes."""
    return images_fit(map(_moves, chain.steps))


def steps_of(settings: ConditionSettings) -> list[Builder]:
    """Return all builders of all chains."""
    return [step for chain in settings.chains for step in chain.steps]


def faults_of(settings: ConditionSettings, names: Sequence[str]) -> list[str]:
    """Return everything in chains that does not fit a label scheme or another builder.

    Args:
        settings: Chains of builders.
        names: Structures of the scheme.
    """
    return [
        f"chains.{number}.{fault}"
        for number, chain in enumerate(settings.chains)
        for fault in _faults_of_chain(chain, names)
    ]


def _faults_of_chain(chain: Chain, names: Sequence[str]) -> list[str]:
    """Return what is wrong with each builder, and with an image that comes too late."""
    faults: list[str] = []
    made: set[str] = set()
    moved = ""
    for place, step in enumerate(chain.steps):
        where = f"steps.{place} ({step.name})"
        faults += [f"{where}: {fault}" for fault in step.faults(names)]
        if moved and step.passes_on(made):
            faults.append(
                f"{where}: it passes on images, which cannot follow {moved} before it; use "
                "perturb without resize"
            )
        moved = step.name if _moves(step) == "no image follows" else moved
        made.update(step.adds)
    return faults


def missing_files(settings: ConditionSettings) -> list[str]:
    """Return every file that chains name and that is not there."""
    return [fault for step in steps_of(settings) for fault in step.missing()]


def files_of_steps(settings: ConditionSettings) -> list[tuple[str, int]]:
    """Return names and sizes of all files that builders read, by which a change is noticed."""
    return [
        (path.name, path.stat().st_size)
        for step in steps_of(settings)
        for paths in step.files().values()
        for path in paths
        if path.is_file()
    ]
