"""What comes of cohorts: the evaluation of each, the study, and the report on all of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vcmaug.cohort.card import CohortCard
from vcmaug.data.cases import cases_of
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.settings import FEWEST_SCORED
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import FromCases, OfLabelled
from vcmaug.pipeline.artefacts.cohorts import DrawnCohort
from vcmaug.pipeline.artefacts.segmenters import IndependentEvaluator, keep_weights
from vcmaug.pipeline.rates import Amount
from vcmaug.quality.results import Quality

if TYPE_CHECKING:
    from vcmaug.downstream.results import Summary

__all__ = ["Evaluation", "ReportPage", "StudyResult"]

_OF_PAGE = {"name", "title", "caveat", "simulated", "data_note"}


@dataclass(frozen=True, eq=False)
class Evaluation(OfLabelled):
    """The metrics of a cohort, each beside what real images score."""

    cohort: DrawnCohort
    evaluator: IndependentEvaluator

    kind: ClassVar[str] = "quality"
    last: ClassVar[str] = "quality.json"

    def settings(self) -> Mapping[str, object]:
        """Return the metrics."""
        return {"metrics": self.work.recipe.metrics}

    @property
    def amount(self) -> Amount:
        """The images to read."""
        return Amount(self.work.recipe.generate.n, "images")

    def load(self) -> Quality:
        """Return the figures."""
        return Quality.read(self.folder / self.last)

    def _make(self, run: Run) -> None:
        """Measure them."""
        from vcmaug.quality.run import evaluate_cohort

        cases, splits = self.cases.load().cases, self.splits.load()
        seen = CohortCard.read(self.cohort.folder).seen
        evaluate_cohort(
            self.cohort.folder,
            real=cases_of(cases, splits.validation),
            evaluator=self.evaluator.load(),
            about_evaluator=self.evaluator.about(),
            out=self.folder,
            trained_on=cases_of(cases, seen.of_models),
            metrics=self.work.recipe.metrics,
            report=run.report,
        )


@dataclass(frozen=True, eq=False)
class StudyResult(FromCases):
    """Every arm at every n and seed; its runs know by themselves what they can keep."""

    data: tuple[Artefact, ...]

    kind: ClassVar[str] = "study"
    last: ClassVar[str] = "summary.json"
    sets_aside: ClassVar[bool] = False

    def settings(self) -> Mapping[str, object]:
        """Return the whole study."""
        return {"study": self.work.recipe.study}

    def faults(self) -> list[str]:
        """Return that the recipe scores too few subjects."""
        splits, role = self.work.recipe.splits, self.work.recipe.study.scored_on
        if splits.file is not None or splits.num_test is None:
            return []
        scored = {"test": splits.num_test, "validation": splits.num_validation}[role]
        if scored >= FEWEST_SCORED:
            return []
        return [f"splits.num_{role} is {scored}; an interval of the study needs {FEWEST_SCORED}"]

    @property
    def num_labels(self) -> int:
        """The largest n."""
        return max(self.work.recipe.study.num_labelled)

    @property
    def amount(self) -> Amount:
        """The updates of all trainings whose result is not there; ceilings are counted as such."""
        study = self.work.recipe.study
        files = [
            run_file(self.folder, arm.name, num_labelled=one.num_labelled, seed=one.seed)
            for arm in study.arms
            if not arm.is_ceiling
            for one in self.work.replicates
        ]
        ceilings = sum(arm.is_ceiling for arm in study.arms) * len(study.seeds)
        trainings = sum(not path.exists() for path in files) + ceilings
        return Amount(trainings * study.fit.updates, "updates", is_shared=True)

    def load(self) -> "Summary":
        """Return its summary."""
        from vcmaug.downstream.results import read_summary

        return read_summary(self.folder / self.last)

    def _make(self, run: Run) -> None:
        """Run what is missing of it."""
        from vcmaug.downstream.study import StudyInputs, run_study

        cases, study = self.cases.load(), self.work.recipe.study
        replicates = {(one.num_labelled, one.seed): one for one in self.work.replicates}
        arms = {arm.name: arm.training_data(replicates) for arm in study.arms}
        inputs = StudyInputs(cases.cases, self.splits.load(), cases.scheme, arms, keep=keep_weights)
        run_study(study, inputs, out=self.folder, compute=run.compute, report=run.report)


@dataclass(frozen=True, eq=False)
class ReportPage(Artefact):
    """One HTML file that opens offline."""

    evaluations: tuple[Evaluation, ...]
    study: StudyResult

    kind: ClassVar[str] = "report"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/report.html."""
        return self.work.report

    def settings(self) -> Mapping[str, object]:
        """Return what stands on the page."""
        return self.work.recipe.model_dump(include=_OF_PAGE)

    def _make(self, run: Run) -> None:
        """Write it."""
        from vcmaug.report.document import write_report

        write_report(self.work.folder)
