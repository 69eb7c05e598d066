"""`adherence`: does an independent evaluator find in an image the label map it was drawn for."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pandas as pd

from vcmaug.quality.measured import Measured
from vcmaug.quality.metrics.base import Better, Metric, Need, Row
from vcmaug.quality.results import Quality

__all__ = ["Adherence"]


class Adherence(Metric):
    """Mean agreement between label map and reading, per structure and over all."""

    name: Literal["adherence"] = "adherence"

    figure: ClassVar[str] = "adherence_dice"
    title: ClassVar[str] = "Adherence"
    better: ClassVar[Better] = "higher"
    high: ClassVar[float | None] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.EVALUATOR})
    blind_spot: ClassVar[str] = (
        "It is what one network sees, and it shares that network's blind spots."
    )
    section: ClassVar[str] = "adherence"
    columns: ClassVar[Mapping[str, str]] = {
        "structure": "structure",
        "synthetic": "synthetic images",
        "real": "real images",
    }

    def rows(self, ground: Measured) -> Sequence[Row]:
        """Return the mean per source and structure, and over structures."""
        table = ground.adherence
        each = table.groupby(["source", "structure"], sort=False)["dice"].mean().reset_index()
        whole = table.groupby("source", sort=False)["dice"].mean().reset_index()
        rows = pd.concat([each, whole.assign(structure="mean")]).to_dict("records")
        return [{str(column): value for column, value in row.items()} for row in rows]

    @classmethod
    def caption(cls, evaluations: Sequence[Quality]) -> str:
        """Return the caption, with the number of subjects that the evaluator learned from."""
        subjects = max(quality.evaluator.subjects for quality in evaluations)
        return (
            "Adherence: Dice (0 to 1, higher is better) between the label map and what an "
            f"independent segmenter finds in the image. It was trained on {subjects} other real "
            "subjects; the column of held-out real images is its own skill."
        )

    @classmethod
    def lines(cls, rows: Sequence[Row]) -> list[str]:
        """Return the Dice of each source and structure as the command line prints it."""
        return [
            f"adherence, {row['source']}, {row['structure']}: Dice {row['dice']:.3f}"
            for row in rows
        ]

    @classmethod
    def shown(cls, rows: Sequence[Row]) -> Sequence[Row]:
        """Return one row per structure, synthetic and real images side by side."""
        found: dict[str, dict[str, str | int | float]] = {}
        for row in rows:
            structure = str(row["structure"])
            about = found.setdefault(structure, {"structure": structure})
            about[str(row["source"])] = row["dice"]
        return list(found.values())
