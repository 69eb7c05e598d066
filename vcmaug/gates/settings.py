"""What a recipe says of its gates."""

from pydantic import Field

from vcmaug.config import Settings
from vcmaug.generate.samplers import DDIM, Sampler
from vcmaug.quality.settings import RealismSettings

__all__ = ["GateSettings"]


class GateSettings(Settings):
    """What is measured before a study; see `vcmaug gates`."""

    num_labelled: int | None = Field(
        None, ge=1, description="of a control with very many labels; None: no such gate"
    )
    seed: int = 0
    least_dice: float = Field(0.88, ge=0, le=1, description="of the segmenter with all labels")
    num_samples: int = Field(128, ge=8, description="unconditional draws")
    sampler: Sampler = DDIM(steps=50)
    realism: RealismSettings = RealismSettings()
