"""The family of metrics of a cohort: each says what it needs, where it is good, what it misses."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import ClassVar, Literal

from vcmaug.parts import Part
from vcmaug.quality.features import Rows
from vcmaug.quality.measured import Measured
from vcmaug.quality.results import Quality, Reading, Row

__all__ = ["Better", "Distance", "Metric", "Need", "Row"]

Better = Literal["higher", "lower", "near 0.5"]
"""Where a figure is good."""


class Need(Enum):
    """What a metric cannot be measured without."""

    EVALUATOR = "no independent evaluator at hand"
    HOLD_OUT = "{found} held-out real cases, expected {fewest} or more"
    TRAINING = "no images of training cases at hand"

    def is_met(self, ground: Measured, *, fewest: int) -> bool:
        """Return whether it is at hand."""
        met = {
            Need.EVALUATOR: ground.evaluator is not None,
            Need.HOLD_OUT: len(ground.held_out) >= fewest,
            Need.TRAINING: len(ground.train_images) > 0,
        }
        return met[self]


class Metric(Part):
    """Something that is measured of a cohort.

    Attributes:
        figure: Column of its main figure.
        title: As headings say it.
        better: Direction.
        low: Least value of the figure.
        high: Largest value; None: there is none.
        unit: Of the figure; empty for one without.
        needs: What must be at hand.
        fewest_hold_out: Held-out real cases that it needs, where it needs any.
        blind_spot: What it does not see, in one sentence.
        section: Key of its rows in quality.json; metrics of one section share rows.
        heading: Of that section in a report; empty: title, direction and blind spot.
        columns: Heading of each column that a report shows, after the cohort's.
    """

    family: ClassVar[str] = "metric"
    home: ClassVar[str] = "vcmaug.quality.metrics"

    figure: ClassVar[str]
    title: ClassVar[str]
    better: ClassVar[Better]
    low: ClassVar[float | None] = 0
    high: ClassVar[float | None] = None
    unit: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]] = frozenset()
    fewest_hold_out: ClassVar[int] = 2
    blind_spot: ClassVar[str]
    section: ClassVar[str]
    heading: ClassVar[str] = ""
    columns: ClassVar[Mapping[str, str]]

    def missing(self, ground: Measured) -> list[str]:
        """Return what it cannot be measured without and what is not at hand."""
        unmet = [
            need
            for need in Need
            if need in self.needs and not need.is_met(ground, fewest=self.fewest_hold_out)
        ]
        numbers = {"found": len(ground.held_out), "fewest": self.fewest_hold_out}
        return [need.value.format(**numbers) for need in unmet]

    @abstractmethod
    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return its figures, one row for each kind of images."""

    @classmethod
    def caption(cls, evaluations: Sequence[Quality]) -> str:
        """Return the caption of its section in a report.

        Args:
            evaluations: Of all cohorts.
        """
        del evaluations
        return cls.heading or f"{cls.title} ({cls.better} is better). {cls.blind_spot}"

    @classmethod
    def shown(cls, rows: Sequence[Row]) -> Sequence[Row]:
        """Return rows as a report's table has them."""
        return rows

    @classmethod
    def lines(cls, rows: Sequence[Row]) -> list[str]:
        """Return rows as the command line prints them; rows without its figure are left out."""
        held = [row for row in rows if cls.figure in row]
        words = [", ".join(v for v in row.values() if isinstance(v, str)) for row in held]
        return [
            f"{name}: {cls.title} {row[cls.figure]:.4g}"
            for name, row in zip(words, held, strict=True)
        ]

    @classmethod
    def about(cls) -> Reading:
        """Return how the figure is to be read."""
        return Reading(
            better=cls.better,
            range=(cls.low, cls.high),
            title=cls.title,
            unit=cls.unit,
            blind_spot=cls.blind_spot,
            section=cls.section,
        )


class Distance(Metric):
    """A distance between sets of equal size, beside the same distance between real images.

    It is biased upwards for few samples, so a real-vs-real row stands beside every synthetic one.
    """

    better: ClassVar[Better] = "lower"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HOLD_OUT})
    fewest_hold_out: ClassVar[int] = 4
    section: ClassVar[str] = "distances"
    heading: ClassVar[str] = (
        "Distance from real images (0 or more, lower is nearer), between sets of equal size. The "
        "row real vs real is the floor: one half of the held-out real images against the other."
    )
    columns: ClassVar[Mapping[str, str]] = {
        "row": "sets",
        "num_first": "real",
        "num_second": "other",
    }

    @abstractmethod
    def between(self, real: Rows, other: Rows) -> Mapping[str, float]:
        """Return the figures of two sets of descriptors."""

    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return the distances of half of the real images from the others and from drawn ones."""
        real = ground.halves.real
        return [
            {
                "row": row,
                "num_first": len(real),
                "num_second": len(other),
                **self.between(real, other),
            }
            for row, other in ground.halves.pairs
        ]
