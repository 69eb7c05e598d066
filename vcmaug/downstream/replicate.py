"""A replicate of a study: where one (n, seed) keeps its control, its conditions and its cohorts."""

from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["Replicate"]


@dataclass(frozen=True)
class Replicate:
    """One (n, seed) of the study: its own control, conditions and cohort.

    With `pool`, its control and conditions use the pseudo-labelled unlabelled set too.
    """

    folder: Path
    num_labelled: int
    seed: int
    pool: bool = False

    @property
    def name(self) -> str:
        """Such as n10-s0 or n10-s0-pool."""
        return f"{self.folder.parent.name}-pool" if self.pool else self.folder.name

    @property
    def with_pool(self) -> "Replicate":
        """The same (n, seed) with the unlabelled set."""
        return self if self.pool else replace(self, folder=self.folder / "pool", pool=True)

    @property
    def control(self) -> Path:
        """Folder of its control."""
        return self.folder / "control"

    @property
    def conditions(self) -> Path:
        """Folder of its conditions."""
        return self.folder / "conditions"

    @property
    def cohort(self) -> Path:
        """Folder of its cohort."""
        return self.folder / "cohort"

    @property
    def pseudo(self) -> Path:
        """Folder of the unlabelled set with pseudo-labels, a cohort of its own (self-training)."""
        return self.folder.parent / "pseudo" if self.pool else self.folder / "pseudo"

    @property
    def quality(self) -> Path:
        """Folder of its cohort's evaluation."""
        return self.folder / "quality"
