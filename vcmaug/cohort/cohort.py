"""A cohort: synthetic cases, with the manifest and the card that say where each came from.

Whatever made it, sampler or not, a finished cohort is opened and used in the same way.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.manifest import read_manifest, read_rows
from vcmaug.cohort.row import ManifestRow
from vcmaug.data.case import Case
from vcmaug.data.cases import Cases, SplitCases
from vcmaug.data.splits import Splits
from vcmaug.errors import LeakError

__all__ = ["Cohort"]


@dataclass(frozen=True, repr=False)
class Cohort(Cases):
    """The finished cases of a cohort; files and hashes are those of its manifest.

    Attributes:
        card: What it came from.

    Examples:
        >>> cohort = Cohort.open(Path("work/replicates/n10-s0/cohort"))  # doctest: +SKIP
        >>> cohort.manifest.groupby("builder")["seconds"].mean()  # doctest: +SKIP
    """

    card: CohortCard

    @classmethod
    def open(cls, folder: Path) -> "Cohort":
        """Return a finished cohort.

        Raises:
            CohortError: It is not finished, its manifest is damaged, or an older version made it.
        """
        cases = tuple(row.case(folder) for row in read_rows(folder) if row.is_done)
        card = CohortCard.read(folder)
        return cls(cases=cases, folder=folder, scheme=card.scheme, grid=card.grid, card=card)

    @property
    def manifest(self) -> pd.DataFrame:
        """The whole manifest, also of requests without a case; it is read anew each time."""
        return read_manifest(self.folder)

    @cached_property
    def rows(self) -> tuple[ManifestRow, ...]:
        """The whole manifest as records, also of requests without a case."""
        return tuple(read_rows(self.folder))

    @cached_property
    def _row_of(self) -> dict[str, ManifestRow]:
        """The rows of the finished cases, by case."""
        return {row.case_id: row for row in self.rows if row.is_done}

    def row_of(self, case: Case) -> ManifestRow:
        """Return the row of one of its cases."""
        return self._row_of[case.case_id]

    def by_role(self, splits: Splits) -> SplitCases:
        """Refuse: a made case has the roles of its parents, not one of its own.

        Raises:
            LeakError: Always.
        """
        raise LeakError(
            f"splitting cohort {self.folder}: a made case inherits the roles of all its parents. "
            "Split the real cases, and make a cohort of those for training."
        )
