"""How conditions are made: chains of builders that take turns, and scalars.

Chains say every fault in them at once. Scalars are volumes of the final map, and age, sex and the
like as asked; their settings say where each column comes from, and what is done beyond the prior's
range.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from vcmaug.conditions.base import Cell
from vcmaug.conditions.builder import Builder, images_fit
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.builders.shape_model import ShapeModel
from vcmaug.config import Settings
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import is_crop
from vcmaug.data.scalars import ScalarSpec, raw_value
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file
from vcmaug.seeding import numpy_generator

__all__ = ["Chain", "ConditionSettings", "ScalarSettings"]


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
            if place > 0 and step.measures_source:
                faults.append(f"{where}: it goes by the source's own label map; put it first")
            if moved and step.passes_on(made):
                faults.append(
                    f"{where}: it passes on images, which cannot follow {moved} before it; use "
                    "perturb without resize"
                )
            moved = step.name if step.will_move == "no image follows" else moved
            made.update(step.adds)
        return faults


class ScalarSource(Settings):
    """Where the values of a column come from; exactly one is given."""

    table: bool = Field(False, description="drawn from the rows of the sources")
    fixed: float | str | None = None
    sweep: tuple[float | str, ...] = Field((), description="one after the other, for each source")
    uniform: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> "ScalarSource":
        """Refuse none and several."""
        given = [self.table, self.fixed is not None, bool(self.sweep), self.uniform is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of table, fixed, sweep and uniform")
        return self


class ScalarSettings(Settings):
    """Scalars of all conditions."""

    columns: dict[str, ScalarSource] = Field(
        {}, description="of the case table, e.g. age; a column that is not listed is the source's"
    )
    out_of_range: Literal["refuse", "clip"] = Field(
        "clip", description="what happens to a scalar beyond the prior's range"
    )

    def applied(
        self, row: Mapping[str, Cell], *, table: Sequence[Mapping[str, Cell]], turn: int, seed: int
    ) -> dict[str, Cell]:
        """Return a condition's columns as they are asked for.

        Args:
            row: With the volumes of the final map.
            table: Rows of the sources, for columns drawn from them.
            turn: How often the source has been used before.
            seed: Of the condition.
        """
        result = dict(row)
        for column, source in self.columns.items():
            generator = numpy_generator(seed, "scalar", column)
            if source.table:
                result[column] = table[int(generator.integers(len(table)))].get(column)
            elif source.uniform is not None:
                result[column] = round(float(generator.uniform(*source.uniform)), 3)
            elif source.sweep:
                result[column] = source.sweep[turn % len(source.sweep)]
            else:
                result[column] = source.fixed
        return result

    def in_range(
        self, row: Mapping[str, Cell], specs: Sequence[ScalarSpec], *, name: str
    ) -> tuple[dict[str, Cell], dict[str, float]]:
        """Return columns with a prior's scalars in their ranges, and the raw values beyond them.

        Args:
            row: As it is asked for; `scalar_<name>` is added for each scalar, 0 at the low end of
                its range and 1 at the high.
            specs: Of the prior; none: no scalar.
            name: Of the condition, for messages.

        Raises:
            DataError: A scalar cannot be read, or is out of range and out_of_range is refuse.
        """
        result, clipped = dict(row), {}
        for spec in specs:
            try:
                value = raw_value(spec, row)
            except DataError as fault:
                raise DataError(f"condition {name}, {fault}") from None
            scaled = None if value is None else (value - spec.low) / (spec.high - spec.low)
            if value is not None and scaled is not None and not 0.0 <= scaled <= 1.0:
                if self.out_of_range == "refuse":
                    raise DataError(
                        f"condition {name}: scalar {spec.name!r} is {value:g} {spec.unit}, the "
                        f"prior's range is {spec.low:g} to {spec.high:g}. Set "
                        "scalars.out_of_range: clip, or ask for less."
                    )
                clipped[spec.name] = value
                scaled = min(max(scaled, 0.0), 1.0)
            result[f"scalar_{spec.name}"] = scaled
        return result, clipped


class ConditionSettings(Settings):
    """How conditions are made."""

    chains: tuple[Chain, ...] = Field(
        (Chain(steps=(Perturb(),)),), min_length=1, description="they take turns by weight"
    )
    inherit: tuple[str, ...] = Field(
        ("age", "sex"), description="columns of the case table that a condition takes over"
    )
    scalars: ScalarSettings = ScalarSettings()

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, object]:
        """Return the chains that fit a grid, of `recipes/hippocampus` and `recipes/brain-mini`.

        Whole heads are deformed alone: in shapes that are drawn for them thin structures break.
        """
        deformed, drawn = Chain(steps=(Perturb.of_grid(grid),)), Chain(steps=(ShapeModel(),))
        return {"chains": (deformed, drawn) if is_crop(grid) else (deformed,)}

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

    @property
    def paths(self) -> list[Path]:
        """All files that builders read."""
        named = [paths for step in self.steps for paths in step.files().values()]
        return [path for paths in named for path in paths]

    def files(self) -> list[tuple[str, str]]:
        """Return names and hashes of all files that builders read, by which a change is noticed."""
        found = [(path, path.stat()) for path in self.paths if path.is_file()]
        return [(path.name, _hash_of(path, at.st_size, at.st_mtime_ns)) for path, at in found]


@cache
def _hash_of(path: Path, size: int, changed_ns: int) -> str:
    """Return the hash of a file, read once for as long as it has one size and time."""
    del size, changed_ns
    return sha256_of_file(path)
