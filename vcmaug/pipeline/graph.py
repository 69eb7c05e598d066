"""The graph of a recipe: every artefact with what it needs, and what options asked of those there.

`--n`, `--lazy`, `--accept` and `--seed` of one verb hold for the verbs after it; `run` goes by the
recipe alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from vcmaug.arms.base import Arm, Need
from vcmaug.data.work_layout import Replicate
from vcmaug.generate.acceptance import Acceptance
from vcmaug.pipeline.artefact import Artefact
from vcmaug.pipeline.artefacts.cases import PreparedCases, RecipeSplits, WholeCases
from vcmaug.pipeline.artefacts.cohorts import ArmCohort, BuiltConditions, DrawnCohort
from vcmaug.pipeline.artefacts.gates import (
    AllGates,
    AutoencoderGate,
    ControlGate,
    PriorGate,
    SegmenterGate,
)
from vcmaug.pipeline.artefacts.models import (
    BroughtPrior,
    PriorArtefact,
    TrainedControl,
    TrainedPrior,
)
from vcmaug.pipeline.artefacts.results import Evaluation, ReportPage, StudyResult
from vcmaug.pipeline.artefacts.segmenters import (
    AcceptanceMeasure,
    IndependentEvaluator,
    PseudoLabels,
    Teacher,
)
from vcmaug.pipeline.marker import Marker
from vcmaug.pipeline.work import Work

__all__ = ["Graph", "with_cohort_as_asked", "with_models_as_asked"]


@dataclass(frozen=True)
class Graph:
    """The artefacts of a work folder; those of the same name are the same.

    Attributes:
        work: The folder and its recipe.
    """

    work: Work

    @cached_property
    def cases(self) -> PreparedCases:
        """Prepared cases."""
        return PreparedCases(self.work)

    @cached_property
    def splits(self) -> RecipeSplits:
        """The splits of their subjects."""
        return RecipeSplits(self.work, self.cases)

    @cached_property
    def prior(self) -> PriorArtefact:
        """The prior, brought or trained."""
        source = self.work.recipe.prior.source
        if source is not None:
            return BroughtPrior(self.work, source)
        return TrainedPrior(self.work, self.cases, self.splits)

    @cached_property
    def evaluator(self) -> IndependentEvaluator:
        """The independent evaluator."""
        return IndependentEvaluator(self.work, self.cases, self.splits)

    def teacher(self, replicate: Replicate) -> Teacher:
        """Return the segmenter of a replicate's n cases alone."""
        return Teacher(self.work, replicate.without_pool, self.cases, self.splits)

    def pseudo(self, replicate: Replicate) -> PseudoLabels:
        """Return the unlabelled set of a replicate with pseudo-labels."""
        own, teacher = replicate.without_pool, self.teacher(replicate)
        return PseudoLabels(self.work, own, self.cases, self.splits, teacher)

    def acceptance(self, replicate: Replicate) -> AcceptanceMeasure:
        """Return what measures the adherence of a replicate's drawn images."""
        own, teacher = replicate.without_pool, self.teacher(replicate)
        return AcceptanceMeasure(self.work, own, self.cases, self.splits, teacher)

    def control(self, replicate: Replicate) -> TrainedControl:
        """Return the control of a replicate."""
        pseudo = self.pseudo(replicate) if replicate.pool else None
        return TrainedControl(self.work, replicate, self.cases, self.splits, self.prior, pseudo)

    def conditions(self, replicate: Replicate) -> BuiltConditions:
        """Return the conditions of a replicate."""
        pseudo = self.pseudo(replicate) if replicate.pool else None
        whole = WholeCases(self.work) if self.work.recipe.conditions.grid else None
        return BuiltConditions(self.work, replicate, self.cases, self.splits, pseudo, whole)

    def cohort(self, replicate: Replicate) -> DrawnCohort:
        """Return the drawn cohort of a replicate."""
        measured = self.work.recipe.generate.acceptance.measured
        return DrawnCohort(
            self.work,
            replicate,
            self.prior,
            self.control(replicate),
            self.conditions(replicate),
            self.acceptance(replicate) if measured else None,
        )

    def evaluation(self, replicate: Replicate) -> Evaluation:
        """Return the evaluation of a replicate's drawn cohort."""
        cohort = self.cohort(replicate)
        return Evaluation(self.work, replicate, self.cases, self.splits, cohort, self.evaluator)

    def of_need(self, need: Need, replicate: Replicate) -> Artefact:
        """Return the artefact that an arm's need means in a replicate."""
        made: dict[Need, Callable[[Replicate], Artefact]] = {
            Need.TEACHER: self.teacher,
            Need.POOL: self.pseudo,
            Need.CONTROL: self.control,
            Need.CONDITIONS: self.conditions,
            Need.COHORT: self.cohort,
        }
        return made[need](replicate)

    def data_of(self, arm: Arm, replicate: Replicate) -> tuple[Artefact, ...]:
        """Return what an arm trains on in a replicate beside the real cases."""
        variant, out = arm.variant(replicate), arm.cohort_folder(replicate)
        needs = tuple(self.of_need(need, variant) for need in Need if need in arm.needs)
        if out is None or not arm.makes_data():
            return needs
        shared = self.work, replicate, self.cases, self.splits
        return (ArmCohort(*shared, arm, out, needs, variant.conditions),)

    @property
    def study(self) -> StudyResult:
        """The study."""
        data = {
            one.name: one
            for replicate in self.work.replicates
            for arm in self.work.recipe.study.arms
            for one in self.data_of(arm, replicate)
        }
        return StudyResult(self.work, self.cases, self.splits, tuple(data.values()))

    @property
    def report(self) -> ReportPage:
        """The report, on the study and on every cohort that is drawn for it."""
        drawn = [
            arm.variant(replicate)
            for replicate in self.work.replicates
            for arm in self.work.recipe.study.arms
            if Need.COHORT in arm.needs
        ]
        evaluations = tuple(self.evaluation(one) for one in dict.fromkeys(drawn))
        return ReportPage(self.work, evaluations, self.study)

    @property
    def gates(self) -> AllGates:
        """All gates of the recipe, the first that can fail first."""
        work, cases, splits, prior = self.work, self.cases, self.splits, self.prior
        gates, few = work.recipe.gates, work.recipe.study.num_labelled
        segmenter = SegmenterGate(work, 1, cases, splits)
        autoencoder = AutoencoderGate(work, 2, cases, splits, prior, segmenter)
        samples = PriorGate(work, 3, cases, splits, prior, self.evaluator)
        many = [(4, gates.num_labelled)] if gates.num_labelled else []
        controls = [
            ControlGate(work, number, self.evaluation(work.replicate(n, gates.seed)))
            for number, n in [*many, *((5, n) for n in few)]
        ]
        return AllGates(work, (segmenter, autoencoder, samples, *controls))


class _Asked(BaseModel):
    """Those settings of a section that options can change; None: as the recipe says."""

    seed: int | None = None
    n: int | None = None
    lazy: bool | None = None
    acceptance: Acceptance | None = None


def _asked(artefact: Artefact, section: str) -> _Asked:
    """Return what an artefact that is there was made from."""
    marker = Marker.read(artefact.marker) if artefact.folder.exists() else None
    return _Asked.model_validate(marker.settings.get(section, {}) if marker else {})


def with_models_as_asked(work: Work, replicate: Replicate) -> Work:
    """Return a work folder with the prior's seed and the conditions' number as they were asked."""
    graph = Graph(work)
    prior = _asked(graph.prior, "prior")
    conditions = _asked(graph.conditions(replicate), "conditions")
    return work.changed(
        prior={"seed": prior.seed}, conditions={"n": conditions.n, "lazy": conditions.lazy}
    )


def with_cohort_as_asked(work: Work, replicate: Replicate) -> Work:
    """Return a work folder with number and acceptance of a cohort as they were asked, too."""
    asked = with_models_as_asked(work, replicate)
    drawn = _asked(Graph(asked).cohort(replicate), "generate")
    return asked.changed(generate={"n": drawn.n, "acceptance": drawn.acceptance})
