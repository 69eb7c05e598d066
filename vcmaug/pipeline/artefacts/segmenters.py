"""Networks that read images: what the labelled cases alone can teach, and the one that judges.

The teacher of a replicate is the network of the study's arm `real` at the same n and seed. It gives
pseudo-labels and accepts drawn images; the independent evaluator of cohorts never does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vcmaug.arms.real import Real
from vcmaug.data.cases import Case, labelled_of
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.training_data import TrainingData
from vcmaug.files import sha256_of_file, write_bytes, write_json
from vcmaug.generate.acceptance import MeasureSource
from vcmaug.pipeline.acceptance import DICE, WEIGHTS, MeasureCard, load_adherence
from vcmaug.pipeline.artefact import Run
from vcmaug.pipeline.artefacts.cases import FromCases, OfLabelled
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work
from vcmaug.quality.results import EvaluatorCard

if TYPE_CHECKING:
    from vcmaug.downstream.evaluator import Evaluator

__all__ = [
    "AcceptanceMeasure",
    "IndependentEvaluator",
    "PseudoLabels",
    "Teacher",
    "evaluator_subjects",
    "keep_weights",
]

_TEACHER = Real()
_OF_TRAINING = {"task", "segmenter", "augment", "lesions"}
_FEWEST_SUBJECTS = 3


def keep_weights(network: Any, path: Path) -> None:
    """Write a network's weights."""
    from vcmaug.ldm.weights import write_weights

    write_weights(path, network.state_dict())


@dataclass(frozen=True, eq=False)
class Teacher(OfLabelled):
    """The segmenter that a replicate's n cases alone train."""

    kind: ClassVar[str] = "teacher"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """The result of its run in the study."""
        study, own = self.work.study, self.replicate
        return run_file(study, _TEACHER.name, num_labelled=own.num_labelled, seed=own.seed)

    @property
    def weights(self) -> Path:
        """The weights, beside the result."""
        return self.folder.with_suffix(".safetensors")

    def settings(self) -> Mapping[str, object]:
        """Return the study's training, n and seed."""
        study = self.work.recipe.study.model_dump(include=_OF_TRAINING | {"fit", "scored_on"})
        return {**super().settings(), "study": study}

    @property
    def is_whole(self) -> bool:
        """Whether its weights are there too."""
        return self.folder.exists() and self.weights.exists()

    @property
    def amount(self) -> Amount:
        """The updates."""
        return Amount(self.work.recipe.study.fit.updates, "updates", is_shared=True)

    def load(self) -> "Evaluator":
        """Return the network."""
        from vcmaug.downstream.evaluator import load_evaluator

        study, scheme = self.work.recipe.study, self.cases.load().scheme
        return load_evaluator(self.weights, study=study, scheme=scheme)

    def _make(self, run: Run) -> None:
        """Train it; where there are workers, all teachers that are wanted together."""
        from vcmaug.downstream.study import StudyInputs, run_arm

        cases, splits = self.cases.load(), self.splits.load()
        alone = run.compute.kind == "in-process"
        replicates = [self.replicate] if alone else [one.replicate for one in self.alike(run)]
        arms: dict[str, TrainingData] = {_TEACHER.name: _TEACHER.training_data({})}
        run_arm(
            _TEACHER.name,
            [(one.num_labelled, one.seed) for one in replicates],
            settings=self.work.recipe.study,
            inputs=StudyInputs(cases.cases, splits, cases.scheme, arms, keep=keep_weights),
            out=self.work.study,
            compute=run.compute,
            report=run.report,
        )


@dataclass(frozen=True, eq=False)
class FromTeacher(OfLabelled):
    """What the teacher of a replicate makes; one for both of its variants."""

    teacher: Teacher

    def settings(self) -> Mapping[str, object]:
        """Return nothing: the teacher decides."""
        return {}


class PseudoLabels(FromTeacher):
    """The unlabelled set of a replicate, with what its teacher reads there."""

    kind: ClassVar[str] = "pseudo"

    def load(self) -> tuple[Case, ...]:
        """Return the cases in which the teacher found every structure."""
        from vcmaug.arms.self_training import pseudo_cases

        return pseudo_cases(self.folder, self.unlabelled())

    def _make(self, run: Run) -> None:
        """Let the teacher label them."""
        from vcmaug.arms.self_training import pseudo_label

        pseudo_label(
            self.unlabelled(),
            self.teacher.load(),
            teacher_subjects=[case.subject_id for case in self.labelled()],
            scheme=self.cases.load().scheme,
            out=self.folder,
            report=run.report,
        )


class AcceptanceMeasure(FromTeacher):
    """The teacher as workers load it, to accept drawn images by their adherence."""

    kind: ClassVar[str] = "acceptance"
    last: ClassVar[str] = "card.json"

    def load(self) -> MeasureSource:
        """Return where workers find it, and what it measures."""
        names = self.cases.load().scheme.names
        return MeasureSource(
            loader=f"{load_adherence.__module__}:{load_adherence.__name__}",
            folder=str(self.folder.resolve()),
            sha256=sha256_of_file(self.folder / self.last),
            figures=(DICE, *(f"{DICE}.{name}" for name in names)),
        )

    def _make(self, run: Run) -> None:
        """Copy the weights and say what they are."""
        write_bytes(self.folder / WEIGHTS, self.teacher.weights.read_bytes())
        MeasureCard(
            study=self.work.recipe.study,
            scheme=self.cases.load().scheme.structures,
            subjects=tuple(sorted(case.subject_id for case in self.labelled())),
            file_sha256=sha256_of_file(self.teacher.weights),
        ).write(self.folder / self.last)


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
    return dict(sorted(replicates))  # of equal seeds the last stays


@dataclass(frozen=True, eq=False)
class IndependentEvaluator(FromCases):
    """A network of training subjects whose labels no replicate uses; None where few are left."""

    kind: ClassVar[str] = "evaluator"
    last: ClassVar[str] = "card.json"

    @property
    def _weights(self) -> Path:
        """Its weights."""
        return self.folder / "evaluator.safetensors"

    def settings(self) -> Mapping[str, object]:
        """Return its network and training, the seed, and how many labels replicates use."""
        recipe = self.work.recipe
        return {
            "evaluator": recipe.evaluator,
            "study": recipe.study.model_dump(include=_OF_TRAINING),
            "seed": recipe.seed,
            "labels of replicates by seed": _most_labelled(self.work),
        }

    @property
    def amount(self) -> Amount:
        """The updates."""
        return Amount(self.work.recipe.evaluator.updates, "updates")

    def about(self) -> EvaluatorCard:
        """Return what it was trained on."""
        return EvaluatorCard.read(self.folder / self.last)

    def load(self) -> "Evaluator | None":
        """Return the evaluator, or None."""
        from vcmaug.downstream.evaluator import load_evaluator

        if not self.about().subjects:
            return None
        study, scheme = self.work.recipe.study, self.cases.load().scheme
        return load_evaluator(self._weights, study=study, scheme=scheme)

    def _make(self, run: Run) -> None:
        """Train it, where there are subjects enough."""
        from vcmaug.downstream.evaluator import train_evaluator

        cases, study = self.cases.load(), self.work.recipe.study
        subjects = evaluator_subjects(self.work, self.splits.load())
        labelled = labelled_of(cases.cases, subjects)
        found = {case.subject_id for case in labelled}
        card = self.folder / self.last
        if len(found) < _FEWEST_SUBJECTS:
            why = "too few training subjects outside all replicates"
            write_json(card, {"subjects": 0, "why": why})
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
            **study.model_dump(mode="json", include={"task", "segmenter", "augment"}),
            "seed": self.work.recipe.seed,
        }
        write_json(card, about)
