"""The independent evaluator, and what it says of each cohort."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vcmaug.cohort.card import CohortCard
from vcmaug.data.cases import Cases, cases_of
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.files import write_json
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cohort import CohortArtefact
from vcmaug.pipeline.artefacts.teacher import keep_weights
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

if TYPE_CHECKING:
    from vcmaug.downstream.evaluator import Evaluator
    from vcmaug.quality.results import EvaluatorCard, Quality

__all__ = ["Evaluation", "IndependentEvaluator", "evaluator_subjects"]

_FEWEST_SUBJECTS = 3


def evaluator_subjects(work: Work, splits: Splits) -> tuple[str, ...]:
    """Return the subjects of the evaluator whose labels no replicate of study or gates uses.

    Where the splits name none for it, all training subjects are meant.
    """
    used: set[str] = set()
    for seed, num_labelled in _most_labelled(work).items():
        used |= set(labelled_subset(splits, num_labelled=num_labelled, seed=seed))
    return tuple(one for one in splits.evaluator or splits.train if one not in used)


def _most_labelled(work: Work) -> dict[int, int]:
    """Return, per seed, the most labels that any replicate uses; smaller subsets lie within."""
    gates = work.recipe.gates
    replicates = [(one.seed, one.num_labelled) for one in work.replicates]
    replicates += [(gates.seed, gates.num_labelled)] if gates.num_labelled else []
    found: dict[int, int] = {}
    for seed, num_labelled in replicates:
        found[seed] = max(num_labelled, found.get(seed, 0))
    return found


@dataclass(frozen=True, eq=False)
class IndependentEvaluator(Artefact["Evaluator | None"]):
    """A network of training subjects whose labels no replicate uses; None where few are left."""

    work: Work
    cases: Artefact[Cases]
    splits: Artefact[Splits]

    kind: ClassVar[str] = "evaluator"

    @property
    def folder(self) -> Path:
        """WORK/evaluator."""
        return self.work.evaluator

    @property
    def _weights(self) -> Path:
        """Its weights."""
        return self.folder / "evaluator.safetensors"

    @property
    def _card(self) -> Path:
        """What it was trained on, written last."""
        return self.folder / "card.json"

    def settings(self) -> Mapping[str, Any]:
        """Return its network and training, the seed, and how many labels replicates use."""
        recipe = self.work.recipe
        study = json_like(recipe.study)
        labels = {str(seed): n for seed, n in sorted(_most_labelled(self.work).items())}
        return {
            "evaluator": json_like(recipe.evaluator),
            "study": {name: study[name] for name in ("task", "segmenter", "augment", "lesions")},
            "seed": recipe.seed,
            "labels of replicates by seed": labels,
        }

    @property
    def is_whole(self) -> bool:
        """Whether its card is there."""
        return self._card.exists()

    @property
    def amount(self) -> Amount:
        """The updates."""
        return Amount(self.work.recipe.evaluator.updates, "updates")

    def about(self) -> "EvaluatorCard":
        """Return what it was trained on."""
        from vcmaug.quality.results import EvaluatorCard

        return EvaluatorCard.read(self._card)

    def load(self) -> "Evaluator | None":
        """Return the evaluator, or None."""
        from vcmaug.downstream.evaluator import load_evaluator

        if not self.about().subjects:
            return None
        return load_evaluator(
            self._weights, study=self.work.recipe.study, scheme=self.cases.load().scheme
        )

    def _make(self, run: Run) -> None:
        """Train it, where there are subjects enough."""
        from vcmaug.downstream.evaluator import train_evaluator

        cases, study = self.cases.load(), self.work.recipe.study
        subjects = evaluator_subjects(self.work, self.splits.load())
        labelled = [one for one in cases_of(cases.cases, subjects) if one.label is not None]
        found = {case.subject_id for case in labelled}
        if len(found) < _FEWEST_SUBJECTS:
            why = "too few training subjects outside all replicates"
            write_json(self._card, {"subjects": 0, "why": why})
            return
        settings = self.work.recipe.evaluator
        evaluator = train_evaluator(
            labelled,
            study=study.model_copy(update={"fit": settings}),
            scheme=cases.scheme,
            seed=self.work.recipe.seed,
            report=run.report,
        )
        keep_weights(evaluator.network, self._weights)
        about = {
            "subjects": len(found),
            "cases": [case.case_id for case in labelled],
            "settings": settings.model_dump(mode="json"),
            "task": study.task.model_dump(mode="json"),
            "segmenter": study.segmenter.model_dump(mode="json"),
            "augment": study.augment.model_dump(mode="json"),
            "seed": self.work.recipe.seed,
        }
        write_json(self._card, about)


@dataclass(frozen=True, eq=False)
class Evaluation(Artefact["Quality"]):
    """The metrics of a cohort, each beside what real images score."""

    work: Work
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    cohort: CohortArtefact
    evaluator: IndependentEvaluator

    kind: ClassVar[str] = "quality"

    @property
    def name(self) -> str:
        """Such as quality-n10-s0."""
        return f"{self.kind}-{self.cohort.replicate.name}"

    @property
    def folder(self) -> Path:
        """In the folder of the replicate."""
        return self.cohort.replicate.quality

    def settings(self) -> Mapping[str, Any]:
        """Return the metrics."""
        return {"metrics": [json_like(metric) for metric in self.work.recipe.metrics]}

    @property
    def is_whole(self) -> bool:
        """Whether what is written last is there."""
        return self.cohort.replicate.quality_file.exists()

    @property
    def amount(self) -> Amount:
        """The images to read."""
        return Amount(self.work.recipe.generate.n, "images")

    def load(self) -> "Quality":
        """Return the figures."""
        from vcmaug.quality.results import Quality

        return Quality.read(self.cohort.replicate.quality_file)

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
