"""One training of a study: what it may see, what it depends on, and how it is scored.

Test subjects are read at the very end of each training. A run is known by everything that decides
its scores, so that a finished one is read again and a changed one is made anew.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from vcmaug.cohort.cohort import Cohort
from vcmaug.compute.devices import threads_of
from vcmaug.data.case import IMAGE, LABEL
from vcmaug.data.cases import Case, labelled_of
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.data.volume import other_voxels
from vcmaug.data.volumes import LabelledVolumes, read_case_volumes
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.fit import fit
from vcmaug.downstream.leaks import (
    refuse_leaks,
    refuse_real_leaks,
    refuse_unlabelled,
)
from vcmaug.downstream.results import (
    FitRecord,
    RunResult,
    read_result,
)
from vcmaug.downstream.settings import FEWEST_SCORED, StudySettings
from vcmaug.downstream.training_data import Rule, TrainingData
from vcmaug.errors import CohortError, DataError
from vcmaug.files import write_json
from vcmaug.progress import Report
from vcmaug.provenance import fingerprint
from vcmaug.seeding import stable_seed

__all__ = ["StudyInputs", "StudyRun"]

_OTHER = "other batches"
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
        num_replicates: Of labelled cases, control and cohort; None: one per seed. One means that
            seeds are of the networks alone, whose differences are no verdict on the arms.
    """

    cases: tuple[Case, ...]
    splits: Splits
    scheme: LabelScheme
    arms: Mapping[str, TrainingData]
    keep: Callable[[nn.Module, Path], None] | None = None
    num_replicates: int | None = None


@dataclass(frozen=True)
class StudyRun:
    """One training of the grid; of a ceiling, n is the number of labelled training subjects."""

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
        """Its labelled subjects; the same for every arm that has not all labels to choose from."""
        of_all = self.data.is_ceiling or self.data.of_all_labels
        number, splits = self.num_labelled, self.inputs.splits
        return labelled_subset(splits, num_labelled=number, seed=self.seed, of_all=of_all)

    @property
    def scored(self) -> tuple[str, ...]:
        """The subjects on which it is scored."""
        splits = self.inputs.splits
        return splits.test if self.settings.scored_on == "test" else splits.validation

    def cohort(self) -> Cohort | None:
        """Return the cohort that it trains on; None: it has real cases alone."""
        folder = self.data.cohort_of(self.num_labelled, self.seed)
        return None if folder is None else Cohort.open(folder)

    def refuse(self) -> None:
        """Refuse, before anything is trained, what would leak or could not be scored.

        Raises:
            LeakError: A held-out subject is in reach of a training.
            DataError: Fewer than two subjects are scored, or one has no label map.
        """
        inputs, role = self.inputs, self.settings.scored_on
        if len(set(self.scored)) < FEWEST_SCORED:
            raise DataError(
                f"running a study: the {role} has {len(self.scored)} subjects, an interval needs "
                f"{FEWEST_SCORED} or more. Raise splits.num_{role}."
            )
        if self.data.rule is not None and not self.settings.task.reads_labels:
            raise DataError(
                f"running a study: arm {self.arm} finds structures, and the task is "
                f"{self.settings.task.name}. Leave the arm out."
            )
        refuse_unlabelled(inputs.cases, self.scored, role=role)
        refuse_real_leaks(self.labelled, inputs.splits)
        refuse_unlabelled(inputs.cases, self.labelled, role="labelled")
        cohort = self.cohort()
        if cohort is not None:
            refuse_leaks(
                cohort,
                labelled_subjects=self.labelled,
                splits=inputs.splits,
                cases=inputs.cases,
                scheme=inputs.scheme,
                unlabelled=self.data.sees_unlabelled,
            )

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
        if self.data.rule is not None:
            result = self._fit_rule(self.data.rule, identity)
        else:
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
            for case in labelled_of(self.inputs.cases, [*self.labelled, *self.scored])
        ]
        made = [
            [case.case_id, case.hash_of(IMAGE), case.hash_of(LABEL)] for case in self.cohort() or ()
        ]
        shared = self.settings.model_dump(mode="json", include=_DECIDES)
        batches: list[object] = [_OTHER] if self.data.has_other_batches else []
        batches += [self.data.rule.identity] if self.data.rule is not None else []
        scheme = self.inputs.scheme.to_json()
        return fingerprint([self._place, shared, cases, scheme, made, *batches])

    def _train_and_score(self, identity: str, report: Report) -> tuple[RunResult, nn.Module]:
        """Return scores and cost of the training, and the network."""
        scheme = self.inputs.scheme
        real = read_case_volumes(labelled_of(self.inputs.cases, self.labelled), scheme)
        cohort = self.cohort()
        made = None if cohort is None else _volumes_of(cohort, like=real)
        network, cost = fit(
            real,
            made,
            study=self.settings,
            seed=self.seed,
            batches=stable_seed(self.seed, _OTHER) if self.data.has_other_batches else None,
            what=str(self),
            report=report,
        )
        predict = partial(self.settings.task.predict, network)
        with threads_of(self.settings.fit.threads):
            scores = self._scores(predict)
        num_made = 0 if made is None else len(made.names)
        return self._result(scores, cost, identity, num_real=len(real.names), num=num_made), network

    def _fit_rule(self, rule: Rule, identity: str) -> RunResult:
        """Return scores and cost of what finds structures without a network."""
        began = time.perf_counter()
        real = read_case_volumes(labelled_of(self.inputs.cases, self.labelled), self.inputs.scheme)
        reading = rule.fitted(real)
        scores = self._scores(lambda inputs: reading(inputs[:, 0].numpy()))
        cost = FitRecord(0, time.perf_counter() - began, augmentation_seconds=0.0, loss=0.0)
        return self._result(scores, cost, identity, num_real=len(real.names), num=0)

    def _result(
        self,
        scores: Sequence[Mapping[str, object]],
        cost: FitRecord,
        identity: str,
        *,
        num_real: int,
        num: int,
    ) -> RunResult:
        """Return the record of a training on so many real and other cases."""
        return RunResult(
            arm=self.arm,
            num_labelled=self.num_labelled,
            seed=self.seed,
            num_real=num_real,
            num_synthetic=num,
            cost=cost,
            scores=tuple(scores),
            identity=identity,
        )

    def _scores(self, predict: Callable[[Tensor], NDArray[Any]]) -> list[dict[str, object]]:
        """Return one row for everything that the task scores in each scored case."""
        task, ground = self.settings.task, self.settings.ground(self.inputs.scheme)
        cases = labelled_of(self.inputs.cases, self.scored)
        volumes = read_case_volumes(cases, self.inputs.scheme)
        inputs, targets = task.examples(*volumes.tensors())
        found = zip(cases, predict(inputs), targets.numpy(), strict=True)
        return [
            {**self._place, "case_id": case.case_id, "subject_id": case.subject_id, **row}
            for case, prediction, target in found
            for row in task.score(prediction, target, ground=ground, spacing_mm=volumes.spacing_mm)
        ]


def _volumes_of(cohort: Cohort, *, like: LabelledVolumes) -> LabelledVolumes:
    """Return the finished cases of a cohort, to be mixed with real ones.

    Raises:
        CohortError: No case is finished, or the grid is another than the real cases'.
    """
    if not cohort.cases:
        raise CohortError(
            f"reading cohort {cohort.folder}: no case is finished. Generate it again."
        )
    volumes = read_case_volumes(cohort.cases, like.scheme)
    if differs := other_voxels(volumes, than=like):
        raise CohortError(
            f"reading cohort {cohort.folder}: not on the grid of the real cases: {differs}. Use a "
            "prior of their grid."
        )
    return volumes
