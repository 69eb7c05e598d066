"""What a recipe says of quality measures that are trained."""

from pydantic import Field

from vcmaug.config import Settings

__all__ = ["RealismSettings"]


class RealismSettings(Settings):
    """The classifier and its training."""

    channels: tuple[int, ...] = (16, 32, 64)
    updates: int = Field(300, ge=1)
    batch_size: int = Field(16, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    folds: int = Field(2, ge=2)
    threads: int | None = Field(
        1, ge=1, description="on the CPU; null: as many as the process has, and other figures"
    )
