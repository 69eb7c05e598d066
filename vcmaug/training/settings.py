"""How priors and controls are trained: settings, and the job of a control; no torch is loaded.

Defaults are those of `recipes/hippocampus`, whose LOG.md says what was measured and rejected; what
depends on the grid is in `of_grid`, and recipes and the face take it from there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from vcmaug.config import Settings
from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.case import Case
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import by_extent, by_size
from vcmaug.data.labels import LabelScheme
from vcmaug.ldm.noise_schedule import NoiseSchedule, Spread

__all__ = [
    "AutoencoderTraining",
    "ControlJob",
    "ControlTraining",
    "DeformSettings",
    "DiffusionTraining",
    "PriorTraining",
    "TrainingSettings",
]


class TrainingSettings(Settings):
    """How long and how fast to learn."""

    updates: int = Field(1000, ge=1)
    batch_size: int = Field(4, ge=1, description="of an update, over all processes")
    accumulate: int = Field(1, ge=1, description="calls that share the batch of one process")
    learning_rate: float = Field(1e-4, gt=0)
    warmup_updates: int = Field(50, ge=0)
    final_share: float = Field(0.05, ge=0, le=1, description="last learning rate over the highest")
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    checkpoint_every: int = Field(200, ge=1)
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16",
        description="bfloat16 halves the time; float32 is used where it is not supported",
    )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then a cosine to its final share.

        Examples:
            >>> settings = TrainingSettings(updates=12, warmup_updates=2, learning_rate=1)
            >>> settings.rate(0), settings.rate(1), round(settings.rate(12), 6)
            (0.5, 1.0, 0.05)
        """
        if step < self.warmup_updates:
            return self.learning_rate * (step + 1) / self.warmup_updates
        done, length = step - self.warmup_updates, max(1, self.updates - self.warmup_updates)
        cosine = 0.5 * (1.0 + math.cos(math.pi * done / length))
        return self.learning_rate * (self.final_share + (1.0 - self.final_share) * cosine)


class DeformSettings(Settings):
    """How many deformed copies, and how far they are deformed."""

    deformed_copies: int = Field(0, ge=0, description="deformed copies of each case")
    max_displacement_mm: float = Field(3.0, ge=0)
    smoothness_mm: float = Field(8.0, gt=0)


class AutoencoderTraining(TrainingSettings):
    """How to train the autoencoder."""

    updates: int = Field(3000, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    kl_weight: float = Field(1e-5, ge=0)
    gradient_weight: float = Field(
        0.0, ge=0, description="of sharp edges; the texture of the prior does it better"
    )
    foreground_weight: float = Field(
        0.1, ge=0, description="of the foreground head, if the autoencoder has one"
    )
    flip: bool = Field(False, description="mirror half of the images left to right")

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, float]:
        """Return the settings that depend on the grid, from the recipes in `data.grid_size`."""
        return {"updates": by_size(grid, (3000, 3000, 6000), step=100)}


class DiffusionTraining(TrainingSettings, DeformSettings):
    """How to train the diffusion U-Net; deformed copies of the images are encoded too."""

    updates: int = Field(14000, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    ema_decay: float = Field(0.9995, ge=0, lt=1)
    deformed_copies: int = Field(30, ge=0, description="deformed copies of each image")
    max_displacement_mm: float = Field(3.5, ge=0)
    flip: bool = Field(False, description="mirrored images are encoded too")
    timestep_spread: Spread | None = Field(
        None,
        description="logit-normal: more timesteps in the middle of the schedule; null: as measured "
        "for its kind",
    )

    def spread_on(self, schedule: NoiseSchedule) -> Spread:
        """Return how timesteps of a schedule are spread."""
        return schedule.spread if self.timestep_spread is None else self.timestep_spread

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, float]:
        """Return the settings that depend on the grid, from the recipes in `data.grid_size`.

        Copies get fewer on larger grids, since all are held in memory while they are encoded.
        """
        return {
            "updates": by_size(grid, (14000, 14000, 40000), step=500),
            "deformed_copies": by_size(grid, (30, 15, 4)),
            "max_displacement_mm": by_extent(grid, (3.5, 4.0)),
            "smoothness_mm": by_extent(grid, (8.0, 24.0)),
        }


class PriorTraining(Settings):
    """How to train a prior."""

    autoencoder: AutoencoderTraining = AutoencoderTraining()
    diffusion: DiffusionTraining = DiffusionTraining()
    texture: bool = Field(
        True, description="measure what the decoder leaves out, and add such texture to every draw"
    )
    half: bool = Field(True, description="store the weights in half precision")

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, dict[str, float]]:
        """Return the settings that depend on the grid, by network."""
        return {
            "autoencoder": AutoencoderTraining.of_grid(grid),
            "diffusion": DiffusionTraining.of_grid(grid),
        }


class ControlTraining(TrainingSettings, DeformSettings):
    """How to train a control."""

    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    l1_weight: float = Field(1e-3, ge=0, description="lambda of the penalty on gamma and beta")
    flip: bool = Field(False, description="mirrored pairs too; pairs of structures change places")
    deformed_copies: int = Field(30, ge=0, description="deformed copies of each pair")
    timesteps: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the schedule that is trained: sampler.start, and null as null there",
    )
    weighting: Literal["prediction", "image"] = Field(
        "image",
        description="of timesteps: alike, or by the error of the image that they stand for, which "
        "weighs those in which its layout is decided",
    )
    near_weight: float = Field(
        15.0,
        ge=0,
        description="added to the weight 1 of latent cells with a structure in or next to",
    )
    held_out: int = Field(
        0, ge=0, description="labelled subjects kept from training, to measure the loss on"
    )
    validate_every: int = Field(100, ge=1, description="updates, where subjects are held out")
    keep: Literal["last", "best"] = Field(
        "last", description="best: the average with the least loss on the subjects held out"
    )
    half: bool = Field(False, description="store the weights in half precision")
    threads: int | None = Field(
        None,
        ge=1,
        description="on the CPU: one gives the same control on every number of cores; null: as "
        "many as the process has",
    )

    def trained_on(self, schedule: NoiseSchedule) -> float:
        """Return the share of a schedule that is trained."""
        return schedule.start if self.timesteps is None else self.timesteps

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, float]:
        """Return the settings that depend on the grid, from the recipes in `data.grid_size`.

        For the copies at 4 mm it is `recipes/lesions`, which has few labelled cases.
        """
        return {
            "updates": by_size(grid, (1000, 1000, 4000), step=100),
            "deformed_copies": by_size(grid, (30, 20, 4)),
            "max_displacement_mm": by_extent(grid, (3.0, 6.0)),
            "smoothness_mm": by_extent(grid, (8.0, 16.0)),
        }


@dataclass(frozen=True, kw_only=True)
class ControlJob:
    """What control is trained, and how.

    Attributes:
        method: As it is set.
        scheme: Of the label maps.
        shows: Channels that it is shown.
        settings: How to train.
        seed: Of everything random.
        forbidden: Subjects of test and validation.
        pseudo_labelled: Further training cases, their label maps made by a segmenter that learnt
            from the labelled ones.
        start_from: Folder of a control on the same prior to start from, or None.
        about: Written into the card: data, licence, command.
    """

    method: ControlMethod
    scheme: LabelScheme
    shows: ChannelSettings = field(default_factory=ChannelSettings)
    settings: ControlTraining = field(default_factory=ControlTraining)
    seed: int = 0
    forbidden: Sequence[str] = ()
    pseudo_labelled: Sequence[Case] = ()
    start_from: Path | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def structures(self) -> LabelScheme:
        """The structures that the control is shown."""
        return self.shows.part_of(self.scheme)
