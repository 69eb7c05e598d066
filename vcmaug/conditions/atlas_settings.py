"""The settings of a lesion atlas: where its masks are and what their values mean."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vcmaug.config import RecipePath, Settings

__all__ = ["AtlasSettings"]


class AtlasSettings(Settings):
    """Where the masks are and what their values mean."""

    source: RecipePath = Field(description="a folder of masks, or a table of them (.csv)")
    pattern: str = Field("**/*.nii.gz", description="of the masks in a folder")
    subject: str = Field(
        r"([^/]+?)(?:_lesions?|_mask)?\.nii(?:\.gz)?$",
        description="regular expression whose first group is the subject",
    )
    values: dict[str, int] = Field(
        {"lesion": 1}, min_length=1, description="structure of the scheme -> value in the masks"
    )
    template: RecipePath | None = Field(
        None, description="image of a head without skull in the space of the atlas"
    )
    role: str = Field("train", description="rows of a table with another role are left out")
    smallest_mm3: float = Field(10.0, ge=0, description="smaller lesions are not indexed")

    @field_validator("subject")
    @classmethod
    def _has_a_group(cls, value: str) -> str:
        """Refuse an expression without a group."""
        if re.compile(value).groups < 1:
            raise ValueError("expected a regular expression with a group for the subject")
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_old_key(cls, value: Any) -> Any:
        """Refuse the old name of `role`."""
        if isinstance(value, dict) and "fold" in value:
            raise PydanticCustomError("unknown_name", "fold: is called 'role' now")
        return value

    def masks(self) -> list[Path]:
        """Return the files of a folder, or the table; what is not there stands for itself."""
        return sorted(self.source.glob(self.pattern)) if self.source.is_dir() else [self.source]
