"""Cases: an immutable table of prepared cases, with the scheme and the grid that they share.

`prepare` leaves one in a folder; a study takes subjects from it, splits it, and reads it into
memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pydantic import AliasPath, Field

from vcmaug.config import JsonFile
from vcmaug.data.case import Case
from vcmaug.data.case_table import read_table_of_cases
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme, Structure
from vcmaug.data.splits import Splits, SplitSettings, make_splits, nested_subset
from vcmaug.data.volumes import LabelledVolumes, read_case_volumes
from vcmaug.doors import Shown

__all__ = ["Case", "Cases", "Prepared", "SplitCases", "cases_of", "labelled_of"]


class Prepared(JsonFile):
    """What prepare.json says of prepared cases, as far as it is read.

    Attributes:
        structures: Of their label maps.
        source_values: The user's own values, in channel order.
        grid: On which they all lie.
    """

    structures: tuple[Structure, ...] = Field(validation_alias="scheme")
    source_values: tuple[int, ...] = ()
    grid: Grid = Field(validation_alias=AliasPath("settings", "grid"))

    @property
    def scheme(self) -> LabelScheme:
        """Meaning of the label maps."""
        return LabelScheme(self.structures, source_values=self.source_values)


@dataclass(frozen=True, repr=False)
class Cases(Shown):
    """Prepared cases.

    Attributes:
        cases: In the order of their table.
        folder: Holds their files.
        scheme: Meaning of their label maps.
        grid: On which they all lie.
        roles: Role of every subject of the split that they come from: train, validation or test.
    """

    cases: tuple[Case, ...]
    folder: Path
    scheme: LabelScheme
    grid: Grid
    roles: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    @classmethod
    def open(cls, folder: Path) -> "Cases":
        """Return what `prepare` left in a folder.

        Raises:
            WorkFolderError: It is not complete, or an older version prepared it.
            FaultyDataSet: Files are missing; all at once.
        """
        cases = read_table_of_cases(folder)
        about = Prepared.read(folder / "prepare.json")
        return cls(cases, folder, about.scheme, about.grid)

    def __len__(self) -> int:
        return len(self.cases)

    def __repr__(self) -> str:
        """Return how many there are, and where."""
        return f"<{type(self).__name__}: {len(self)} in {self.folder}>"

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __getitem__(self, place: int) -> Case:
        return self.cases[place]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Ids of the subjects, each once, in order of their first case."""
        return tuple(dict.fromkeys(case.subject_id for case in self.cases))

    @property
    def unlabelled_subjects(self) -> tuple[str, ...]:
        """Ids of the subjects none of whose cases has a label map."""
        labelled = {case.subject_id for case in self.cases if case.label is not None}
        return tuple(subject for subject in self.subjects if subject not in labelled)

    def of(self, subjects: Iterable[str]) -> "Cases":
        """Return the cases of some subjects, in the same order."""
        return replace(self, cases=cases_of(self.cases, subjects))

    def labelled(self, num_subjects: int | None = None, *, seed: int = 0) -> "Cases":
        """Return the cases with a label map.

        Args:
            num_subjects: Only of so many subjects; for one seed smaller choices are nested.
            seed: Of the choice.

        Raises:
            DataError: There are fewer labelled subjects.
        """
        found = replace(self, cases=tuple(case for case in self.cases if case.label is not None))
        if num_subjects is None:
            return found
        return found.of(nested_subset(found.subjects, num=num_subjects, seed=seed))

    def split(self, *, test: int, validation: int = 0, seed: int = 0) -> "SplitCases":
        """Return the cases by role, split by subject; those without a label map are for training.

        Args:
            test: So many subjects for the test.
            validation: So many for validation; the rest is for training.
            seed: Of the split.

        Raises:
            DataError: No labelled subject would be left for training.
        """
        settings = SplitSettings(num_test=test, num_validation=validation, seed=seed)
        splits = make_splits(self.subjects, settings, unlabelled=self.unlabelled_subjects)
        return self.by_role(splits)

    def by_role(self, splits: Splits) -> "SplitCases":
        """Return the cases by the roles of their subjects."""
        known = replace(self, roles=splits.roles)
        return SplitCases(*map(known.of, (splits.train, splits.validation, splits.test)))

    def read(self) -> LabelledVolumes:
        """Return the cases in memory.

        Raises:
            DataError: There is no case, or one has no label map.
            FaultyDataSet: A file does not fit the others; all at once.
        """
        return read_case_volumes(self.cases, self.scheme)


class SplitCases(NamedTuple):
    """Cases by the role of their subjects."""

    train: Cases
    validation: Cases
    test: Cases


def cases_of(cases: Iterable[Case], subjects: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases of some subjects, in the order of the cases."""
    wanted = set(subjects)
    return tuple(case for case in cases if case.subject_id in wanted)


def labelled_of(cases: Iterable[Case], subjects: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases of some subjects that have a label map, in the order of the cases."""
    return tuple(case for case in cases_of(cases, subjects) if case.label is not None)
