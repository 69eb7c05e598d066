"""Chains of builders: their order, their turns, and every fault in them at once."""

from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator

from vcmaug.conditions.builder import Builder, images_fit
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.scalars import ScalarSettings
from vcmaug.config import Settings

__all__ = ["Chain", "ConditionSettings"]


class Chain(Settings):
    """Builders that are applied one after the other to a source."""

    weight: int = Field(1, ge=1, description="how often it has its turn, next to the others")
    steps: tuple[Builder, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_steps(cls, value: object) -> object:
        """Take a list of builders for a chain of weight 1."""
        return {"steps": value} if isinstance(value, list | tuple) else value

    @property
    def images_follow(self) -> bool:
        """Whether the image of a source, deformed as the map, fits what the chain makes."""
        return images_fit(step.will_move for step in self.steps)

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return what is wrong with each builder, and with an image that comes too late.

        Args:
            structures: Of the scheme.
        """
        faults: list[str] = []
        made: set[str] = set()
        moved = ""
        for place, step in enumerate(self.steps):
            where = f"steps.{place} ({step.name})"
            faults += [f"{where}: {fault}" for fault in step.faults(structures)]
            if moved and step.passes_on(made):
                faults.append(
                    f"{where}: it passes on images, which cannot follow {moved} before it; use "
                    "perturb without resize"
                )
            moved = step.name if step.will_move == "no image follows" else moved
            made.update(step.adds)
        return faults


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

    def chain_of(self, index: int) -> tuple[int, int]:
        """Return the chain of a condition, and how often that chain has had its turn before.

        Chains take turns one by one until each has had as many as its weight, again and again.

        Examples:
            >>> two = ConditionSettings(
            ...     chains=[{"steps": ["perturb"]}, {"weight": 2, "steps": ["perturb"]}]
            ... )
            >>> [two.chain_of(index) for index in range(4)]
            [(0, 0), (1, 0), (1, 1), (0, 1)]
        """
        weights = [chain.weight for chain in self.chains]
        order = [
            number
            for turn in range(max(weights))
            for number, weight in enumerate(weights)
            if turn < weight
        ]
        rounds, place = divmod(index, len(order))
        chosen = order[place]
        return chosen, rounds * weights[chosen] + order[:place].count(chosen)

    @property
    def steps(self) -> list[Builder]:
        """All builders of all chains."""
        return [step for chain in self.chains for step in chain.steps]

    def faults(self, structures: Sequence[str]) -> list[str]:
        """Return everything in chains that does not fit a label scheme or another builder.

        Args:
            structures: Of the scheme.
        """
        return [
            f"chains.{number}.{fault}"
            for number, chain in enumerate(self.chains)
            for fault in chain.faults(structures)
        ]

    def missing_files(self) -> list[str]:
        """Return every file that chains name and that is not there."""
        return [fault for step in self.steps for fault in step.missing()]

    def files(self) -> list[tuple[str, int]]:
        """Return names and sizes of all files that builders read, by which a change is noticed."""
        return [
            (path.name, path.stat().st_size)
            for step in self.steps
            for paths in step.files().values()
            for path in paths
            if path.is_file()
        ]
