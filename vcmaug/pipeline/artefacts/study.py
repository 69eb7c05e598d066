"""The study, and the report on everything in the work folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vcmaug.data.cases import Cases
from vcmaug.data.splits import Splits
from vcmaug.data.work_layout import run_file
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.teacher import keep_weights
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

if TYPE_CHECKING:
    from vcmaug.downstream.results import Summary

__all__ = ["ReportPage", "StudyResult"]

_OF_THE_PAGE = ("name", "title", "caveat", "simulated", "data_note")


@dataclass(frozen=True, eq=False)
class StudyResult(Artefact["Summary"]):
    """Every arm at every n and seed; its runs know by themselves what they can keep."""

    work: Work
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    data: tuple[Artefact[Any], ...]

    kind: ClassVar[str] = "study"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/study."""
        return self.work.study

    def settings(self) -> Mapping[str, Any]:
        """Return the whole study."""
        return {"study": json_like(self.work.recipe.study)}

    @property
    def is_whole(self) -> bool:
        """Whether its summary is there."""
        return self.work.summary.exists()

    @property
    def amount(self) -> Amount:
        """The updates of all trainings whose result is not there."""
        study = self.work.recipe.study
        return Amount(self._num_missing * study.fit.updates, "updates", shared=True)

    @property
    def _num_missing(self) -> int:
        """Trainings without a result; those of a ceiling are counted as such."""
        study = self.work.recipe.study
        files = [
            run_file(self.folder, arm.name, num_labelled=one.num_labelled, seed=one.seed)
            for arm in study.arms
            if not arm.is_ceiling
            for one in self.work.replicates
        ]
        ceilings = sum(arm.is_ceiling for arm in study.arms) * len(study.seeds)
        return sum(not path.exists() for path in files) + ceilings

    def load(self) -> "Summary":
        """Return its summary."""
        from vcmaug.downstream.results import read_summary

        return read_summary(self.work.summary)

    def _make(self, run: Run) -> None:
        """Run what is missing of it."""
        from vcmaug.downstream.study import StudyInputs, run_study

        cases, study = self.cases.load(), self.work.recipe.study
        replicates = {(one.num_labelled, one.seed): one for one in self.work.replicates}
        arms = {arm.name: arm.training_data(replicates) for arm in study.arms}
        inputs = StudyInputs(cases.cases, self.splits.load(), cases.scheme, arms, keep=keep_weights)
        run_study(study, inputs, out=self.folder, compute=run.compute, report=run.report)


@dataclass(frozen=True, eq=False)
class ReportPage(Artefact[Path]):
    """One HTML file that opens offline."""

    work: Work
    evaluations: tuple[Artefact[Any], ...]
    study: StudyResult

    kind: ClassVar[str] = "report"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/report.html."""
        return self.work.report

    def settings(self) -> Mapping[str, Any]:
        """Return what stands on the page."""
        recipe = self.work.recipe
        return {name: getattr(recipe, name) for name in _OF_THE_PAGE}

    def load(self) -> Path:
        """Return its path."""
        return self.folder

    def _make(self, run: Run) -> None:
        """Write it."""
        from vcmaug.report.document import write_report

        del run
        write_report(self.work.folder)
