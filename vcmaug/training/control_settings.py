"""How a control is trained.

What it is: the settings.
In the flow: part of a recipe; read by the pairs and by the objective.
Sources: none.
"""

from typing import Literal

from pydantic import Field

from vcmaug.training.bent import BendSettings
from vcmaug.training.loop import TrainingSettings

__all__ = ["ControlTraining"]


class ControlTraining(TrainingSettings, BendSettings):
    """How to train a control."""

    learning_rate: float = Field(1e-3, gt=0)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    l1_weight: float = Field(1e-3, ge=0, description="lambda of the penalty on gamma and beta")
    flip: bool = Field(True, description="mirrored pairs too; pairs of structures change places")
    deformed_copies: int = Field(4, ge=0, description="bent copies of each pair")
    timesteps: float = Field(
        1.0, gt=0, le=1, description="share of the schedule that is trained: sampler.start"
    )
    weighting: Literal["epsilon", "image"] = Field(
        "epsilon",
        description="of timesteps: alike, or by the error of the image that they stand for, which "
        "weighs those in which its layout is decided",
    )
    near_weight: float = Field(
        0.0,
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
