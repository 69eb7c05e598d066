"""How the noise of a prior grows: settings alone, which a recipe reads without loading torch."""

from typing import Literal

from pydantic import Field

from vcmaug.config import Settings

__all__ = ["ScheduleSettings"]


class ScheduleSettings(Settings):
    """How beta grows; the defaults are those of BrainLDM."""

    num_timesteps: int = Field(1000, ge=2, description="T; timesteps run from 0 to T - 1")
    beta_start: float = Field(0.0015, gt=0, lt=1)
    beta_end: float = Field(0.0205, gt=0, lt=1)
    kind: Literal["scaled_linear", "linear"] = "scaled_linear"
