"""What a recipe says of a study: its grid, its task, its network, augmentation and training.

Defaults are those of `recipes/hippocampus`, whose LOG.md says what was measured and rejected.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from vcmaug.config import Settings
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import by_size
from vcmaug.data.labels import LabelScheme
from vcmaug.downstream.segmenters.base import Segmenter
from vcmaug.downstream.segmenters.unet import UNet
from vcmaug.downstream.tasks.base import Ground, Task
from vcmaug.downstream.tasks.segmentation import Segmentation

__all__ = ["FEWEST_SCORED", "AugmentSettings", "FitSettings", "StudySettings"]

FEWEST_SCORED = 2
"""Subjects on which a study is scored, at least: an interval needs so many."""


class AugmentSettings(Settings):
    """How many versions of each case are kept, how fast they are renewed, how strong they are."""

    versions: int = Field(6, ge=1, description="of each real case, kept in memory at a time")
    fresh: float = Field(
        0.1, ge=0, le=1, description="new versions per sample drawn; each is seen 1/fresh times"
    )
    scale: float = Field(0.12, ge=0, description="largest relative change of size")
    degrees: float = Field(12.0, ge=0)
    translation_mm: float = Field(3.0, ge=0)
    elastic_probability: float = Field(0.3, ge=0, le=1)
    elastic_mm: float = Field(4.0, ge=0)
    log_gamma: float = Field(0.3, ge=0)
    noise: float = Field(0.05, ge=0)
    bias: float = Field(0.3, ge=0)
    flip: bool = Field(False, description="mirror left to right; pairs of structures change places")


class FitSettings(Settings):
    """How long and how fast to learn; the same in every arm."""

    updates: int = Field(1200, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(4e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    synthetic_share: float = Field(
        0.5, ge=0, le=1, description="of each batch, in an arm with a cohort"
    )
    real_only_final: float = Field(
        0.25, ge=0, le=1, description="last share of the updates, on real cases alone in every arm"
    )
    threads: int | None = Field(
        1,
        ge=1,
        description="of a training and its scores on the CPU: one gives the same scores on every "
        "number of cores; null: as many as the process has",
    )

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, int]:
        """Return the settings that depend on the grid, from the recipes in `data.grid_size`."""
        return {"updates": by_size(grid, (1200, 1600, 1600), step=100)}


class StudySettings(Settings):
    """The grid of a study, and what is the same in all its arms."""

    gone: ClassVar[Mapping[str, str]] = {
        "bootstrap_draws": "intervals are computed and no longer drawn; leave it out",
    }

    num_labelled: tuple[Annotated[int, Field(ge=1)], ...] = Field((10,), min_length=1)
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    task: Task = Segmentation()
    segmenter: Segmenter = UNet()
    augment: AugmentSettings = AugmentSettings()
    fit: FitSettings = FitSettings()
    scored_on: Literal["test", "validation"] = Field(
        "test", description="validation: for choices, so that the test stays closed"
    )
    lesions: tuple[str, ...] = Field((), description="structures that are scored lesion by lesion")
    endpoints: tuple[str, ...] = Field(
        (), description="structures over which means and differences are taken; none: all"
    )
    groups: str | None = Field(
        None,
        description="a column of the case table: the summary of each of its groups is given too",
    )

    @field_validator("num_labelled", "seeds")
    @classmethod
    def _no_number_twice(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Refuse a number that stands twice: one training would count as two."""
        if len(set(numbers)) < len(numbers):
            raise ValueError("a number stands twice")
        return numbers

    def ground(self, scheme: LabelScheme) -> Ground:
        """Return what the task is told, for label maps of such a scheme."""
        return Ground(scheme=scheme, segmenter=self.segmenter, lesions=self.lesions)
