"""What was measured of a cohort: `quality.json`, which `evaluate` writes and others read."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field

from vcmaug.config import JsonFile, Settings

__all__ = ["EvaluatorCard", "Quality", "Reading", "Row"]

Row = Mapping[str, str | int | float]
"""One row of figures, by column; `row` or `source` says of which images."""


class EvaluatorCard(JsonFile):
    """What an independent evaluator was trained on; cases and settings stand beside.

    Attributes:
        subjects: How many; 0: there are too few for an evaluator.
    """

    model_config = ConfigDict(extra="allow")

    subjects: int = 0


class Reading(Settings):
    """How the figure of a metric is to be read; see `Metric`."""

    better: str
    range: tuple[int | float | None, int | float | None]
    title: str
    unit: str
    blind_spot: str
    section: str


class Quality(JsonFile):
    """What was measured of a cohort; the rows of each section stand beside, under its name.

    Attributes:
        kind: Says that it is one.
        num_synthetic: Images of the cohort.
        num_real: Held-out real images.
        evaluator: The independent one; older files call it `reader`.
        metrics: How figures are to be read, by their column.
        missing: What could not be measured, and why.
        versions: Of Python and packages.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    __pydantic_extra__: dict[str, tuple[Row, ...]]

    kind: Literal["quality"] = "quality"
    num_synthetic: int = 0
    num_real: int = 0
    evaluator: EvaluatorCard = Field(
        EvaluatorCard(), validation_alias=AliasChoices("evaluator", "reader")
    )
    metrics: Mapping[str, Reading] = {}
    missing: tuple[str, ...] = ()
    versions: Mapping[str, str] = {}

    def rows(self, section: str) -> Sequence[Row]:
        """Return the rows of a section; none where it was not measured."""
        return self.__pydantic_extra__.get(section, ())

    @property
    def mean_adherence(self) -> dict[str, float]:
        """Adherence over all structures: of `synthetic` images and of `real` ones."""
        means = [row for row in self.rows("adherence") if row["structure"] == "mean"]
        return {str(row["source"]): float(row["dice"]) for row in means}
