"""One training of a study: what it depends on, the training itself, and its scores.

A run is known by everything that decides its scores, so that a finished one is read again and a
changed one is made anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.case import IMAGE, LABEL
from vcmaug.data.cases import Case, cases_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.data import read_case_volumes, read_cohort_volumes
from vcmaug.downstream.fit import fit
from vcmaug.downstream.results import RunResult, read_result
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.training_data import TrainingData
from vcmaug.files import write_json
from vcmaug.progress import Report
from vcmaug.provenance import fingerprint

__all__ = ["Run", "StudyInputs"]

_DECIDES = {"task", "segmenter", "augment", "fit", "lesions"}


@dataclass(frozen=True)
class StudyInputs:
    """What a study works on; for workers all of it can be sent by value.

    Attributes:
        cases: Prepared cases.
        splits: Who may be seen.
        scheme: Of the label maps.
        arms: What each arm trains on, by its name, in the order of tables.
        keep: Writes the network of an arm whose networks are kept.
    """

    cases: tuple[Case, ...]
    splits: Splits
    scheme: LabelScheme
    arms: Mapping[str, TrainingData]
    keep: Callable[[nn.Module, Path], None] | None = None


@dataclass(frozen=True)
class Run:
    """One training of the grid; of a ceiling, n is the number of training subjects."""

    arm: str
    num_labelled: int
    seed: int
    settings: StudySettings
    inputs: StudyInputs

    def __str__(self) -> str:
        """Return a phrase for messages."""
        return f"{self.arm}, n = {self.num_labelled}, seed {self.seed}"

    @property
    def data(self) -> TrainingData:
        """What its arm trains on."""
        return self.inputs.arms[self.arm]

    @property
    def labelled(self) -> tuple[str, ...]:
        """Its labelled subjects; the same for every arm."""
        return labelled_subset(self.inputs.splits, num_labelled=self.num_labelled, seed=self.seed)

    @property
    def scored(self) -> tuple[str, ...]:
        """The subjects on which it is scored."""
        splits = self.inputs.splits
        return splits.test if self.settings.scored_on == "test" else splits.validation

    def cohort(self) -> Cohort | None:
        """Return the cohort that it trains on; None: it has real cases alone."""
        folder = self.data.cohort_of(self.num_labelled, self.seed)
        return None if folder is None else Cohort.open(folder)

    def result(self, out: Path, *, report: Report) -> RunResult:
        """Return its result, from its file if nothing it depends on has changed.

        Args:
            out: Folder of the study.
            report: Told after every update.
        """
        path = run_file(out, self.arm, num_labelled=self.num_labelled, seed=self.seed)
        weights, keep = path.with_suffix(".safetensors"), self.inputs.keep
        keeps = keep is not None and self.data.keeps_network
        identity = self._identity()
        before = None if keeps and not weights.exists() else read_result(path)
        if before is not None and before.identity == identity:
            return before
        result, network = self._train_and_score(identity, report)
        if keep is not None and keeps:
            keep(network, weights)
        write_json(path, asdict(result))
        return result

    @property
    def _place(self) -> dict[str, str | int]:
        """Its columns in a table of scores."""
        return {"arm": self.arm, "num_labelled": self.num_labelled, "seed": self.seed}

    def _identity(self) -> str:
        """Return the fingerprint of all that it depends on."""
        cases = [
            [case.case_id, case.subject_id, case.hash_of(IMAGE), case.hash_of(LABEL)]
            for case in cases_of(self.inputs.cases, [*self.labelled, *self.scored])
            if case.label is not None
        ]
        made = [
            [case.case_id, case.hash_of(IMAGE), case.hash_of(LABEL)] for case in self.cohort() or ()
        ]
        shared = self.settings.model_dump(mode="json", include=_DECIDES)
        return fingerprint([self._place, shared, cases, self.inputs.scheme.to_json(), made])

    def _train_and_score(self, identity: str, report: Report) -> tuple[RunResult, nn.Module]:
        """Return scores and cost of the training, and the network."""
        scheme = self.inputs.scheme
        real = read_case_volumes(cases_of(self.inputs.cases, self.labelled), scheme)
        cohort = self.cohort()
        made = None if cohort is None else read_cohort_volumes(cohort, scheme, like=real)
        network, cost = fit(
            real, made, study=self.settings, seed=self.seed, what=str(self), report=report
        )
        result = RunResult(
            arm=self.arm,
            num_labelled=self.num_labelled,
            seed=self.seed,
            num_real=len(real.names),
            num_synthetic=0 if made is None else len(made.names),
            cost=cost,
            scores=tuple(self._scores(network)),
            identity=identity,
        )
        return result, network

    def _scores(self, network: nn.Module) -> list[dict[str, object]]:
        """Return one row for everything that the task scores in each scored case."""
        task, ground = self.settings.task, self.settings.ground(self.inputs.scheme)
        cases = cases_of(self.inputs.cases, self.scored)
        volumes = read_case_volumes(cases, self.inputs.scheme)
        inputs, targets = task.examples(*volumes.tensors())
        found = zip(cases, task.predict(network, inputs), targets.numpy(), strict=True)
        return [
            {**self._place, "case_id": case.case_id, "subject_id": case.subject_id, **row}
            for case, prediction, target in found
            for row in task.score(prediction, target, ground=ground, spacing_mm=volumes.spacing_mm)
        ]
