"""Prepared cases, the splits of their subjects, and who of them a replicate may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vcmaug.data.cases import Case, Cases, cases_of, labelled_of
from vcmaug.data.geometry import Grid
from vcmaug.data.prepare import find_cases, prepare
from vcmaug.data.scalars import missing_columns, scalar_faults
from vcmaug.data.splits import (
    Splits,
    labelled_subset,
    read_splits,
    splits_from,
    unfit,
    write_splits,
)
from vcmaug.errors import DataError, FaultyDataSet, VcmaugError, WorkFolderError
from vcmaug.files import sha256_of_file
from vcmaug.pipeline.artefact import Artefact, OfReplicate, Run
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.source_files import SourceFiles

__all__ = ["FromCases", "OfLabelled", "PreparedCases", "RecipeSplits", "WholeCases"]


@dataclass(frozen=True, eq=False)
class PreparedCases(Artefact):
    """The cases of a recipe, on one grid."""

    kind: ClassVar[str] = "cases"
    last: ClassVar[str] = "prepare.json"
    noted: ClassVar[str] = "source"

    @property
    def grid(self) -> Grid:
        """To which they are brought."""
        return self.work.recipe.data.grid

    def settings(self) -> Mapping[str, object]:
        """Return what to read and how; the source counts by its files."""
        recipe = self.work.recipe
        data = recipe.data.model_dump(exclude={"source", "label_values_file"})
        data["grid"] = self.grid.model_dump()
        return {"data": data, "population": recipe.population}

    def files(self) -> Mapping[str, object]:
        """Return what tells of a change of each file of the source, and of the label values."""
        data, known = self.work.recipe.data, SourceFiles.at(self._known_files)
        found: dict[str, object] = {
            name: known.told(name, path) for name, path in self._source_files().items()
        }
        if data.label_values_file is not None and Path(data.label_values_file).is_file():
            found["label_values_file"] = sha256_of_file(Path(data.label_values_file))
        return found

    @property
    def _known_files(self) -> Path:
        """Where the files of the source are noted as they were when they were read."""
        return self.work.stages / f"{self.noted}.json"

    def _source_files(self) -> dict[str, Path]:
        """Return the files that are read, by name; none where there is no source."""
        data = self.work.recipe.data
        if self.work.recipe.population is not None or not data.path.exists():
            return {}
        root = data.path if data.path.is_dir() else data.path.parent
        try:
            paths = [path for path in data.reader.files(data.path) if path.is_file()]
        except DataError:
            return {}
        return {str(p.relative_to(root) if p.is_relative_to(root) else p): p for p in paths}

    def faults(self) -> list[str]:
        """Return which data cannot be read, and where the prior lies on another grid."""
        found = [] if self.work.recipe.population is not None else self._faults_of_source()
        return found + self._faults_of_values() + self._other_grid()

    def _faults_of_source(self) -> list[str]:
        """Return that the source is not there, or what of it cannot be used or split."""
        data, found = self.work.recipe.data, list[str]()
        if not data.path.exists():
            return [f"data.source: there is no {data.path}"]
        splits = self.work.recipe.splits
        is_there = splits.file is None or splits.file.exists()  # if not, the splits say so
        try:
            find_cases(data, found, splits=splits if is_there else None)
        except DataError as fault:
            found.append(str(fault).rstrip("."))
        return [f"data.source: {fault}" for fault in found]

    def _faults_of_values(self) -> list[str]:
        """Return what cannot be used of the values of label maps."""
        try:
            self.work.recipe.data.number_of_value()
        except FaultyDataSet as several:
            return [f"data.label_values_file: {fault}" for fault in several.faults]
        except DataError as fault:
            return [f"data.label_values: {fault}".rstrip(".")]
        return []

    def _other_grid(self) -> list[str]:
        """Return where the prior's grid is not the one that cases are brought to.

        A shape that differs would end a training; a spacing or orientation would pass unseen.
        """
        mine, prior = self.work.recipe.data.grid, self.work.recipe.prior
        theirs = prior.known_spec.grid if prior.known_spec else mine
        named = "of prior.spec" if prior.source is None else f"of the prior in {prior.source}"
        return [
            f"data.grid.{name} is {getattr(mine, name)}, that {named} {getattr(theirs, name)}; "
            "make them the same"
            for name in ("shape", "spacing_mm", "orientation")
            if getattr(mine, name) != getattr(theirs, name)
        ]

    @property
    def amount(self) -> Amount:
        """The files to read."""
        population = self.work.recipe.population
        if population is not None:
            return Amount(population.num_subjects, "drawn heads")
        return Amount(max(1, len(self._source_files())), "files")

    def load(self) -> Cases:
        """Return the cases."""
        return Cases.open(self.folder)

    def lacks_for(self, wanted: Sequence[Artefact]) -> list[str]:
        """Return which cells of the prior's scalars cannot be read, or which columns are not there.

        A finished prior may know scalars that these cases do not have.
        """
        prior = self.work.recipe.prior
        if not prior.scalars or not wanted:
            return []
        cases = self.load()
        missing = missing_columns(prior.spec.scalars, cases) if prior.spec else []
        return missing + scalar_faults(prior.scalars, cases)

    def _make(self, run: Run) -> None:
        """Check them all, then write them."""
        settings, population = self.work.recipe.data, self.work.recipe.population
        if population is not None:
            from vcmaug.data.template import make_population

            source = make_population(
                self.work.population,
                num_subjects=population.num_subjects,
                seed=population.seed,
                grid=self.work.recipe.conditions.grid or settings.grid,
                report=run.report,
            )
            settings = settings.model_copy(update={"source": str(source)})
        settings = settings.model_copy(update={"grid": self.grid})
        prepare(settings, self.folder, splits=self.work.recipe.splits, report=run.report)
        files, known = self._source_files(), SourceFiles.at(self._known_files)
        known.now(files).write(self._known_files)


@dataclass(frozen=True, eq=False)
class WholeCases(PreparedCases):
    """The same cases on the larger grid on which conditions are built."""

    kind: ClassVar[str] = "whole"
    noted: ClassVar[str] = "source-whole"

    @property
    def grid(self) -> Grid:
        """That of the conditions, if they have one."""
        return self.work.recipe.conditions.grid or super().grid

    def faults(self) -> list[str]:
        """Return nothing: what is wrong with the cases is said once."""
        return []


@dataclass(frozen=True, eq=False)
class RecipeSplits(Artefact):
    """Who is for training, validation and test; written once, and read afterwards."""

    cases: PreparedCases

    kind: ClassVar[str] = "splits"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/splits.json."""
        return self.work.splits

    def settings(self) -> Mapping[str, object]:
        """Return the counts and the seed, where no file is given."""
        splits = self.work.recipe.splits
        return {} if splits.file is not None else {"splits": splits.model_dump(exclude={"file"})}

    def files(self) -> Mapping[str, object]:
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
            is_known = self.cases.state().is_there and self.folder.exists()
            return self._unfit(self.cases.load()) if is_known else []
        except VcmaugError:
            return []  # said when they are read

    def _unfit(self, cases: Cases) -> list[str]:
        """Return how the splits that are there differ from those that the recipe asks for."""
        settings = self.work.recipe.splits
        advice = "move the file away and run again for a new split"
        try:
            bare = cases.unlabelled_subjects
            faults = unfit(self._read(cases), settings, cases.subjects, unlabelled=bare)
        except FaultyDataSet as fault:
            return [f"{fault}\nIt was written for other cases: {advice}"]
        said = f"using {self.folder}: {'; '.join(faults)}. Set splits in the recipe to what the"
        return [f"{said} file holds, or {advice}"] if faults else []

    def load(self) -> Splits:
        """Return the splits."""
        return self._read(self.cases.load())

    def _read(self, cases: Cases) -> Splits:
        """Return the splits of the cases."""
        return read_splits(self.folder, cases.subjects, unlabelled=cases.unlabelled_subjects)

    def _make(self, run: Run) -> None:
        """Write them unless they are there, and check them against the recipe."""
        cases, settings = self.cases.load(), self.work.recipe.splits
        if not self.folder.exists():
            made = splits_from(settings, cases.subjects, unlabelled=cases.unlabelled_subjects)
            write_splits(self.folder, made)
        if faults := self._unfit(cases):
            raise WorkFolderError(f"{'; '.join(faults)}.")

    def lacks_for(self, wanted: Sequence[Artefact]) -> list[str]:
        """Return that fewer training subjects have a label map than are wanted."""
        most = max((one.num_labels for one in wanted), default=0)
        if not most:
            return []
        splits = self.load()
        fault = (
            f"of {len(splits.train)} training subjects {len(splits.drawn_from)} "
            f"{'are candidates' if splits.candidates else 'have a label map'}, and the recipe asks "
            f"for {most} (study.num_labelled, gates.num_labelled); ask for fewer, or label more: "
            "test and validation take labelled subjects too"
        )
        return [fault] if most > len(splits.drawn_from) else []


@dataclass(frozen=True, eq=False)
class FromCases(Artefact):
    """An artefact of the work folder that is made from its cases."""

    cases: PreparedCases
    splits: RecipeSplits


@dataclass(frozen=True, eq=False)
class OfLabelled(OfReplicate):
    """An artefact of a replicate that is made from its n labelled cases."""

    cases: PreparedCases
    splits: RecipeSplits

    def settings(self) -> Mapping[str, object]:
        """Return n and seed."""
        return {"num_labelled": self.replicate.num_labelled, "seed": self.replicate.seed}

    @property
    def num_labels(self) -> int:
        """The n."""
        return self.replicate.num_labelled

    def labelled(self) -> tuple[Case, ...]:
        """Return the n labelled cases."""
        own = self.replicate
        subjects = labelled_subset(self.splits.load(), num_labelled=own.num_labelled, seed=own.seed)
        return labelled_of(self.cases.load().cases, subjects)

    def unlabelled(self) -> tuple[Case, ...]:
        """Return the training cases of which the replicate may see images alone."""
        known = {case.subject_id for case in self.labelled()}
        return cases_of(self.cases.load().cases, set(self.splits.load().train) - known)
