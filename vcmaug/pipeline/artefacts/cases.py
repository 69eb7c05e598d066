"""Prepared cases, the splits of their subjects, and who of them a replicate may see."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vcmaug.data.cases import Case, Cases, cases_of
from vcmaug.data.prepare import DataSettings, prepare
from vcmaug.data.splits import (
    Splits,
    labelled_subset,
    read_splits,
    splits_from,
    unfit,
    write_splits,
)
from vcmaug.data.work_layout import Replicate
from vcmaug.errors import DataError, FaultyDataSet, VcmaugError, WorkFolderError
from vcmaug.files import sha256_of_file
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.models import other_grid
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

__all__ = ["PreparedCases", "RecipeSplits", "labelled_of", "unlabelled_of"]


def labelled_of(cases: Cases, splits: Splits, replicate: Replicate) -> tuple[Case, ...]:
    """Return the n labelled cases of a replicate."""
    subjects = labelled_subset(splits, num_labelled=replicate.num_labelled, seed=replicate.seed)
    return cases_of(cases.cases, subjects)


def unlabelled_of(cases: Cases, splits: Splits, replicate: Replicate) -> tuple[Case, ...]:
    """Return the training cases of which a replicate may see images alone."""
    known = {case.subject_id for case in labelled_of(cases, splits, replicate)}
    return cases_of(cases.cases, set(splits.train) - known)


@dataclass(frozen=True, eq=False)
class PreparedCases(Artefact[Cases]):
    """The cases of a recipe, on one grid."""

    work: Work

    kind: ClassVar[str] = "cases"

    @property
    def folder(self) -> Path:
        """WORK/cases."""
        return self.work.cases

    def settings(self) -> Mapping[str, Any]:
        """Return what to read and how; the source counts by its files."""
        recipe = self.work.recipe
        population = json_like(recipe.population) if recipe.population else None
        data = json_like(recipe.data, without=("source", "label_values_file"))
        return {"data": data, "population": population}

    def files(self) -> Mapping[str, Any]:
        """Return size and time of each file of the source, and the table of label values."""
        found: dict[str, Any] = {
            _name(path, self.work.recipe.data.path): [path.stat().st_size, path.stat().st_mtime_ns]
            for path in self._source_files()
        }
        values = self.work.recipe.data.label_values_file
        if values is not None and Path(values).is_file():
            found["label_values_file"] = sha256_of_file(Path(values))
        return found

    def _source_files(self) -> list[Path]:
        """Return the files that are read; none where there is no source."""
        data = self.work.recipe.data
        if self.work.recipe.population is not None or not data.path.exists():
            return []
        try:
            return [path for path in data.reader.files(data.path) if path.is_file()]
        except DataError:
            return []

    def faults(self) -> list[str]:
        """Return which data are not there, and where the prior lies on another grid."""
        recipe, found = self.work.recipe, []
        if recipe.population is None and not recipe.data.path.exists():
            found.append(f"data.source: there is no {recipe.data.path}")
        elif recipe.population is None:
            found += _unreadable(recipe.data)
        values = recipe.data.label_values_file
        if values is not None and not Path(values).exists():
            found.append(f"data.label_values_file: there is no {values}")
        return found + other_grid(recipe)

    @property
    def is_whole(self) -> bool:
        """Whether what `prepare` writes last is there."""
        return self.work.prepared.exists()

    @property
    def amount(self) -> Amount:
        """The files to read."""
        population = self.work.recipe.population
        if population is not None:
            return Amount(population.num_subjects, "drawn heads")
        return Amount(max(1, len(self.files())), "files")

    def load(self) -> Cases:
        """Return the cases."""
        return Cases.open(self.folder)

    def _make(self, run: Run) -> None:
        """Check them all, then write them."""
        settings, recipe = self.work.recipe.data, self.work.recipe
        if recipe.population is not None:
            from vcmaug.data.template import make_population

            population = make_population(
                self.work.population,
                num_subjects=recipe.population.num_subjects,
                seed=recipe.population.seed,
                grid=settings.grid,
                report=run.report,
            )
            settings = settings.model_copy(update={"source": str(population)})
        prepare(settings, self.folder, report=run.report)


def _name(path: Path, source: Path) -> str:
    """Return a file's name in its source, the same wherever the source lies."""
    root = source if source.is_dir() else source.parent
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _unreadable(data: DataSettings) -> list[str]:
    """Return why no reader takes a source, or that it holds nothing."""
    try:
        found = data.reader.files(data.path)
    except DataError as fault:
        return [f"data.source: {fault}".rstrip(".")]
    expected = f"; expected {data.reader.expected}"
    return [] if found else [f"data.source: no case in {data.path}{expected}"]


@dataclass(frozen=True, eq=False)
class RecipeSplits(Artefact[Splits]):
    """Who is for training, validation and test; written once, and read afterwards."""

    work: Work
    cases: Artefact[Cases]

    kind: ClassVar[str] = "splits"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/splits.json."""
        return self.work.splits

    def settings(self) -> Mapping[str, Any]:
        """Return the counts and the seed, where no file is given."""
        splits = self.work.recipe.splits
        return {} if splits.file is not None else {"splits": json_like(splits, without=("file",))}

    def files(self) -> Mapping[str, Any]:
        """Return the hash of the recipe's file."""
        file = self.work.recipe.splits.file
        if file is None:
            return {}
        return {"splits.file": sha256_of_file(Path(file)) if Path(file).is_file() else None}

    def faults(self) -> list[str]:
        """Return what is not there, and how what is there differs from the recipe."""
        file = self.work.recipe.splits.file
        if file is not None and not Path(file).exists():
            return [f"splits.file: there is no {file}"]
        try:
            known = self.cases.state().is_there and self.folder.exists()
            return self._unfit(self.cases.load()) if known else []
        except VcmaugError:
            return []  # said when they are read

    def _unfit(self, cases: Cases) -> list[str]:
        """Return how the splits that are there differ from those that the recipe asks for."""
        settings, subjects = self.work.recipe.splits, cases.subjects
        try:
            faults = unfit(read_splits(self.folder, subjects), settings, subjects)
        except FaultyDataSet as fault:
            return [
                f"{fault}\nIt was written for other cases: move the file away and run again for "
                "a new split"
            ]
        advice = (
            "Set splits in the recipe to what the file holds, or move the file away and run again "
            "for a new split"
        )
        return [f"using {self.folder}: {'; '.join(faults)}. {advice}"] if faults else []

    def load(self) -> Splits:
        """Return the splits."""
        return read_splits(self.folder, self.cases.load().subjects)

    def _make(self, run: Run) -> None:
        """Write them unless they are there, and check them against the recipe."""
        del run
        cases = self.cases.load()
        if not self.folder.exists():
            write_splits(self.folder, splits_from(self.work.recipe.splits, cases.subjects))
        if faults := self._unfit(cases):
            raise WorkFolderError(f"{'; '.join(faults)}.")
