"""What the labelled cases alone can teach: a segmenter, pseudo-labels, and a check of drawn images.

The teacher of a replicate is the network of the study's arm `real` at the same n and seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vcmaug.arms.real import Real
from vcmaug.data.cases import Case, Cases
from vcmaug.data.splits import Splits
from vcmaug.data.work_layout import Replicate, run_file
from vcmaug.downstream.training_data import TrainingData
from vcmaug.files import read_json, sha256_of_file, write_bytes, write_json
from vcmaug.generate.acceptance import MeasureSource
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import labelled_of, unlabelled_of
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

if TYPE_CHECKING:
    from vcmaug.downstream.evaluator import Evaluator

__all__ = ["AcceptanceMeasure", "PseudoLabels", "Teacher", "keep_weights"]

_TEACHER = Real()
_DECIDES = ("task", "segmenter", "augment", "fit", "lesions", "scored_on")
_OF_THE_NETWORK = {"task", "segmenter", "lesions"}


def keep_weights(network: Any, path: Path) -> None:
    """Write a network's weights."""
    from vcmaug.ldm.weights import write_weights

    write_weights(path, network.state_dict())


@dataclass(frozen=True, eq=False)
class Teacher(Artefact["Evaluator"]):
    """The segmenter that a replicate's n cases alone train."""

    work: Work
    replicate: Replicate
    cases: Artefact[Cases]
    splits: Artefact[Splits]

    kind: ClassVar[str] = "teacher"
    sets_aside: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Such as teacher-n10-s0."""
        return f"{self.kind}-{self.replicate.name}"

    @property
    def folder(self) -> Path:
        """The result of its run in the study."""
        own = self.replicate
        return run_file(
            self.work.study, _TEACHER.name, num_labelled=own.num_labelled, seed=own.seed
        )

    @property
    def weights(self) -> Path:
        """The weights, beside the result."""
        return self.folder.with_suffix(".safetensors")

    def settings(self) -> Mapping[str, Any]:
        """Return the study's training, n and seed."""
        study = json_like(self.work.recipe.study)
        asked = {"num_labelled": self.replicate.num_labelled, "seed": self.replicate.seed}
        return {"study": {name: study[name] for name in _DECIDES}, **asked}

    @property
    def is_whole(self) -> bool:
        """Whether its weights are there too."""
        return self.folder.exists() and self.weights.exists()

    @property
    def amount(self) -> Amount:
        """The updates."""
        return Amount(self.work.recipe.study.fit.updates, "updates", shared=True)

    def load(self) -> "Evaluator":
        """Return the network."""
        from vcmaug.downstream.evaluator import load_evaluator

        return load_evaluator(
            self.weights, study=self.work.recipe.study, scheme=self.cases.load().scheme
        )

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
class PseudoLabels(Artefact[tuple[Case, ...]]):
    """The unlabelled set of a replicate, with what its teacher reads there."""

    work: Work
    replicate: Replicate
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    teacher: Teacher

    kind: ClassVar[str] = "pseudo"

    @property
    def name(self) -> str:
        """Such as pseudo-n10-s0; one for both variants."""
        return f"{self.kind}-{self.replicate.without_pool.name}"

    @property
    def folder(self) -> Path:
        """A cohort in the folder of the replicate."""
        return self.replicate.pseudo

    def load(self) -> tuple[Case, ...]:
        """Return the cases in which the teacher found every structure."""
        from vcmaug.arms.self_training import pseudo_cases

        return pseudo_cases(self.folder, self._unlabelled())

    def _unlabelled(self) -> tuple[Case, ...]:
        """Return the cases without labels."""
        return unlabelled_of(self.cases.load(), self.splits.load(), self.replicate)

    def _make(self, run: Run) -> None:
        """Let the teacher label them."""
        from vcmaug.arms.self_training import pseudo_label

        cases = self.cases.load()
        labelled = labelled_of(cases, self.splits.load(), self.replicate)
        pseudo_label(
            self._unlabelled(),
            self.teacher.load(),
            teacher_subjects=[case.subject_id for case in labelled],
            scheme=cases.scheme,
            out=self.folder,
            report=run.report,
        )


@dataclass(frozen=True, eq=False)
class AcceptanceMeasure(Artefact[MeasureSource]):
    """The teacher as workers load it, to accept drawn images by their adherence."""

    work: Work
    replicate: Replicate
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    teacher: Teacher

    kind: ClassVar[str] = "acceptance"

    @property
    def name(self) -> str:
        """Such as acceptance-n10-s0."""
        return f"{self.kind}-{self.replicate.without_pool.name}"

    @property
    def folder(self) -> Path:
        """Weights and card in the folder of the replicate."""
        return self.replicate.acceptance

    @property
    def _card(self) -> Path:
        """What it is, written last."""
        return self.folder / "card.json"

    @property
    def is_whole(self) -> bool:
        """Whether its card is there."""
        return self._card.exists()

    def load(self) -> MeasureSource:
        """Return where workers find it."""
        from vcmaug.pipeline.acceptance import measure_source

        return measure_source(self.folder, self.cases.load().scheme)

    def _make(self, run: Run) -> None:
        """Copy the weights and say what they are."""
        from vcmaug.pipeline.acceptance import WEIGHTS

        del run
        cases = self.cases.load()
        labelled = labelled_of(cases, self.splits.load(), self.replicate)
        write_bytes(self.folder / WEIGHTS, self.teacher.weights.read_bytes())
        study = self.work.recipe.study.model_dump(mode="json", include=_OF_THE_NETWORK)
        card = {
            "kind": "segmenter",
            "study": study,
            "scheme": cases.scheme.to_json(),
            "subjects": sorted(case.subject_id for case in labelled),
            "file_sha256": sha256_of_file(self.teacher.weights),
        }
        if not self._card.exists() or read_json(self._card) != card:
            write_json(self._card, card)
