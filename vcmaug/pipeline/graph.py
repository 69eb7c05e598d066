"""The graph of a recipe: every artefact with what it needs, each made once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from vcmaug.arms.base import Arm, Need
from vcmaug.data.work_layout import Replicate
from vcmaug.pipeline.artefact import Artefact
from vcmaug.pipeline.artefacts.cases import PreparedCases, RecipeSplits
from vcmaug.pipeline.artefacts.cohort import ArmCohort, DrawnCohort
from vcmaug.pipeline.artefacts.conditions import BuiltConditions
from vcmaug.pipeline.artefacts.control import TrainedControl
from vcmaug.pipeline.artefacts.evaluation import Evaluation, IndependentEvaluator
from vcmaug.pipeline.artefacts.gates import (
    AllGates,
    AutoencoderGate,
    ControlGate,
    PriorGate,
    SegmenterGate,
)
from vcmaug.pipeline.artefacts.prior import BroughtPrior, PriorArtefact, TrainedPrior
from vcmaug.pipeline.artefacts.study import ReportPage, StudyResult
from vcmaug.pipeline.artefacts.teacher import AcceptanceMeasure, PseudoLabels, Teacher
from vcmaug.pipeline.work import Work

__all__ = ["Graph"]

A = TypeVar("A", bound=Artefact[Any])


@dataclass(frozen=True)
class Graph:
    """The artefacts of a work folder.

    Attributes:
        work: The folder and its recipe.
    """

    work: Work
    _known: dict[str, Artefact[Any]] = field(default_factory=dict, repr=False)

    def _once(self, name: str, build: Callable[[], A]) -> A:
        """Return an artefact, the same one whenever it is asked for."""
        if name not in self._known:
            self._known[name] = build()
        return cast("A", self._known[name])

    @property
    def cases(self) -> PreparedCases:
        """Prepared cases."""
        return self._once("cases", lambda: PreparedCases(self.work))

    @property
    def splits(self) -> RecipeSplits:
        """The splits of their subjects."""
        return self._once("splits", lambda: RecipeSplits(self.work, self.cases))

    @property
    def prior(self) -> PriorArtefact:
        """The prior, brought or trained."""
        if self.work.recipe.prior.source is not None:
            return self._once("prior", lambda: BroughtPrior(self.work))
        return self._once("prior", lambda: TrainedPrior(self.work, self.cases, self.splits))

    @property
    def evaluator(self) -> IndependentEvaluator:
        """The independent evaluator."""
        return self._once(
            "evaluator", lambda: IndependentEvaluator(self.work, self.cases, self.splits)
        )

    def teacher(self, replicate: Replicate) -> Teacher:
        """Return the segmenter of a replicate's n cases alone."""
        own = replicate.without_pool
        return self._once(
            f"teacher {own.name}", lambda: Teacher(self.work, own, self.cases, self.splits)
        )

    def pseudo(self, replicate: Replicate) -> PseudoLabels:
        """Return the unlabelled set of a replicate with pseudo-labels."""
        own = replicate.without_pool
        return self._once(
            f"pseudo {own.name}",
            lambda: PseudoLabels(self.work, own, self.cases, self.splits, self.teacher(own)),
        )

    def acceptance(self, replicate: Replicate) -> AcceptanceMeasure:
        """Return what measures the adherence of a replicate's drawn images."""
        own = replicate.without_pool
        return self._once(
            f"acceptance {own.name}",
            lambda: AcceptanceMeasure(self.work, own, self.cases, self.splits, self.teacher(own)),
        )

    def control(self, replicate: Replicate) -> TrainedControl:
        """Return the control of a replicate."""
        pseudo = self.pseudo(replicate) if replicate.pool else None
        return self._once(
            f"control {replicate.name}",
            lambda: TrainedControl(
                self.work, replicate, self.cases, self.splits, self.prior, pseudo
            ),
        )

    def conditions(self, replicate: Replicate) -> BuiltConditions:
        """Return the conditions of a replicate."""
        pseudo = self.pseudo(replicate) if replicate.pool else None
        return self._once(
            f"conditions {replicate.name}",
            lambda: BuiltConditions(self.work, replicate, self.cases, self.splits, pseudo),
        )

    def cohort(self, replicate: Replicate) -> DrawnCohort:
        """Return the drawn cohort of a replicate."""
        measured = self.work.recipe.generate.acceptance.measured
        return self._once(
            f"cohort {replicate.name}",
            lambda: DrawnCohort(
                self.work,
                replicate,
                self.prior,
                self.control(replicate),
                self.conditions(replicate),
                self.acceptance(replicate) if measured else None,
            ),
        )

    def evaluation(self, replicate: Replicate) -> Evaluation:
        """Return the evaluation of a replicate's drawn cohort."""
        cohort = self.cohort(replicate)
        return self._once(
            f"evaluation {replicate.name}",
            lambda: Evaluation(self.work, self.cases, self.splits, cohort, self.evaluator),
        )

    def of_need(self, need: Need, replicate: Replicate) -> Artefact[Any]:
        """Return the artefact that an arm's need means in a replicate."""
        made: dict[Need, Callable[[Replicate], Artefact[Any]]] = {
            Need.TEACHER: self.teacher,
            Need.POOL: self.pseudo,
            Need.CONTROL: self.control,
            Need.CONDITIONS: self.conditions,
            Need.COHORT: self.cohort,
        }
        return made[need](replicate)

    def data_of(self, arm: Arm, replicate: Replicate) -> tuple[Artefact[Any], ...]:
        """Return what an arm trains on in a replicate beside the real cases."""
        variant = arm.variant(replicate)
        needs = tuple(self.of_need(need, variant) for need in Need if need in arm.needs)
        out = arm.cohort_folder(replicate)
        if out is None or not arm.makes_data():
            return needs
        cohort = self._once(
            f"arm {arm.name} {replicate.name}",
            lambda: ArmCohort(
                self.work,
                replicate,
                arm,
                out,
                self.cases,
                self.splits,
                needs,
                variant.conditions,
            ),
        )
        return (cohort,)

    @property
    def study(self) -> StudyResult:
        """The study."""

        def build() -> StudyResult:
            data = [
                one
                for replicate in self.work.replicates
                for arm in self.work.recipe.study.arms
                for one in self.data_of(arm, replicate)
            ]
            own = tuple({one.name: one for one in data}.values())
            return StudyResult(self.work, self.cases, self.splits, own)

        return self._once("study", build)

    @property
    def report(self) -> ReportPage:
        """The report, on the study and on every cohort that is drawn for it."""

        def build() -> ReportPage:
            drawn = [
                arm.variant(replicate)
                for replicate in self.work.replicates
                for arm in self.work.recipe.study.arms
                if Need.COHORT in arm.needs
            ]
            evaluations = tuple(self.evaluation(one) for one in dict.fromkeys(drawn))
            return ReportPage(self.work, evaluations, self.study)

        return self._once("report", build)

    @property
    def gates(self) -> AllGates:
        """All gates of the recipe, the first that can fail first."""

        def build() -> AllGates:
            work, gates = self.work, self.work.recipe.gates
            segmenter = SegmenterGate(work, 1, self.cases, self.splits)
            prior = self.prior
            autoencoder = AutoencoderGate(work, 2, self.cases, self.splits, prior, segmenter)
            samples = PriorGate(work, 3, self.cases, self.splits, prior, self.evaluator)
            many = [(4, gates.num_labelled)] if gates.num_labelled else []
            few = [(5, n) for n in work.recipe.study.num_labelled]
            controls = [
                ControlGate(work, number, self.evaluation(work.replicate(n, gates.seed)))
                for number, n in [*many, *few]
            ]
            return AllGates(work, (segmenter, autoencoder, samples, *controls))

        return self._once("gates", build)
