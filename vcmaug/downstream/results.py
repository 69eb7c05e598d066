"""Results of a study as records: of one training, and of the whole grid.

A run writes its own file; the study writes `summary.json`, which the report and the command line
read again, those of older versions too, and `cost.json` beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from vcmaug.downstream.statistics import Estimate, Share, decimals_of, in_decimals
from vcmaug.downstream.tasks.base import Score
from vcmaug.downstream.tasks.segmentation import Segmentation
from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json, write_json
from vcmaug.provenance import machine

__all__ = [
    "Cost",
    "Difference",
    "FitRecord",
    "GapClosed",
    "Mean",
    "PriorLabels",
    "RunFacts",
    "RunResult",
    "Summary",
    "read_cost",
    "read_result",
    "read_summary",
    "write_cost",
    "write_summary",
]


@dataclass(frozen=True)
class FitRecord:
    """What a training cost: updates, seconds in all, seconds of augmentation, last loss."""

    updates: int
    seconds: float
    augmentation_seconds: float
    loss: float


@dataclass(frozen=True)
class _Run:
    """One training.

    Attributes:
        arm: Its name.
        num_labelled: Labelled cases; of a ceiling, all training subjects.
        seed: Of its subset and training.
        num_real: Real cases in its training data.
        num_synthetic: Other cases in its training data.
    """

    arm: str
    num_labelled: int
    seed: int
    num_real: int
    num_synthetic: int


@dataclass(frozen=True)
class RunFacts(_Run):
    """What a summary keeps of a training."""


@dataclass(frozen=True)
class RunResult(_Run):
    """One finished training.

    Attributes:
        cost: What it took.
        scores: One row for everything that the task scores in each case, by column.
        identity: Fingerprint of all that it depends on.
    """

    cost: FitRecord
    scores: tuple[Mapping[str, object], ...]
    identity: str

    @property
    def facts(self) -> RunFacts:
        """What a summary keeps of it."""
        same = {field.name: getattr(self, field.name) for field in fields(_Run)}
        return RunFacts(**same)


@dataclass(frozen=True)
class PriorLabels:
    """Labels that reached an arm through the scalars of the prior that drew its cohorts.

    Attributes:
        arm: Its name.
        scalars: Names of those that are measured on label maps.
        num_subjects: On whose label maps, beyond the labelled ones of a replicate; 0: the card of
            the prior does not list them.
        num_of_study: Training subjects of the study among them.
    """

    arm: str
    scalars: tuple[str, ...]
    num_subjects: int
    num_of_study: int

    def __str__(self) -> str:
        """Return it as a sentence."""
        whose = (
            f"{self.num_subjects} subjects beyond the labelled ones, "
            f"{self.num_of_study or 'none'} of them training subjects of this study"
            if self.num_subjects
            else "subjects whom its card does not list"
        )
        read = " and ".join(self.scalars) or "scalars"
        return (
            f"The prior behind {self.arm} reads {read}, measured on label maps of {whose}: the arm "
            "has these labels too."
        )


@dataclass(frozen=True)
class _Place:
    """Whose figure it is."""

    metric: str
    arm: str
    num_labelled: int


@dataclass(frozen=True)
class _Against(_Place):
    """Whose figure it is, and the arm that it is held against."""

    against: str


@dataclass(frozen=True)
class Mean(Estimate, _Place):
    """The mean of a score in one arm at one n; its columns are those of both bases."""


@dataclass(frozen=True)
class Difference(Estimate, _Against):
    """The mean of paired differences from another arm at one n."""


@dataclass(frozen=True)
class GapClosed(Share, _Place):
    """The share of the label gap that an arm closes at one n."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came out of a study.

    Attributes:
        means: By score, n and arm.
        differences: By score, n, baseline and arm.
        gap_closed: By score, n and arm; none without a ceiling.
        task: Its name.
        scores: What is compared, the headline first; a summary without them is of a segmentation.
        structures: Of the scheme.
        scored_on: The role of the subjects that were scored.
        num_test_subjects: How many these are.
        updates: Of every training.
        num_labelled: The n of the grid.
        seeds: Of the grid.
        num_replicates: Each with its own labelled cases, control and cohort; 0: an older summary,
            with one for each seed.
        noise_arm: The arm that is the floor trained again with other batches; None: there is none.
        threads: Of a training on the CPU; None: as many as its process had.
        runs: Every training.
        empty_rule: What is scored where there is nothing to compare.
        interval: Of what kind the intervals are, in words.
        prior_labels: Of each arm whose prior reads scalars that are measured on label maps.
        notes: What must be known to read the figures, a sentence each.
        groups: The summary of each group of scored subjects, by its name.
        versions: Of Python and packages.
    """

    means: tuple[Mean, ...]
    differences: tuple[Difference, ...]
    gap_closed: tuple[GapClosed, ...] = ()
    task: str = Segmentation().name
    scores: tuple[Score, ...] = Segmentation.scores
    structures: tuple[str, ...]
    scored_on: str = "test"
    num_test_subjects: int
    updates: int
    num_labelled: tuple[int, ...]
    seeds: tuple[int, ...]
    num_replicates: int = 0
    noise_arm: str | None = None
    threads: int | None = None
    runs: tuple[RunFacts, ...]
    empty_rule: str = ""
    interval: str
    prior_labels: tuple[PriorLabels, ...] = ()
    notes: tuple[str, ...] = ()
    groups: Mapping[str, "Summary"] = field(default_factory=dict)
    versions: Mapping[str, object] = field(default_factory=dict)

    @property
    def headline(self) -> Score:
        """The score that headlines and plots show."""
        return self.scores[0]

    def verdict(self, row: Difference) -> str:
        """Return what a difference shows, in the same words up and down.

        Fewer replicates than three give none: what one more training with other batches changes is
        as large as what arms differ by, and so few do not tell it apart.
        """
        if row.arm == self.noise_arm:
            return "noise: the same cases with other batches"
        replicates = self.num_replicates or len(self.seeds)
        if replicates < _FEWEST_REPLICATES:
            return f"{_COUNTED[replicates]}, so no verdict"
        if row.low <= 0 <= row.high:
            return "the interval holds zero, so neither gain nor harm is shown"
        better = {score.name: score.better for score in self.scores}[row.metric]
        is_gain = (row.low > 0) == (better == "higher")
        side = "above" if row.low > 0 else "below"
        return f"the interval lies {side} zero: {'a gain' if is_gain else 'a harm'} is shown"

    def rounded(self, row: Mean | Difference, sign: Literal["", "+"] = "") -> tuple[str, str, str]:
        """Return mean and ends of the interval as text, with the decimals that they carry.

        These are no more than the noise row of the same score and n carries, where there is one:
        with one seed the interval knows nothing of what a training alone changes.

        Args:
            row: Of this summary.
            sign: "+" for differences, which always show theirs.
        """
        place = (self.noise_arm, row.metric, row.num_labelled)
        noise = [
            decimals_of(max(abs(one.low), abs(one.high)))
            for one in self.differences
            if (one.arm, one.metric, one.num_labelled) == place
        ]
        decimals = min([row.decimals, *noise])
        mean, low, high = (
            in_decimals(one, decimals, sign) for one in (row.mean, row.low, row.high)
        )
        return mean, low, high


_FEWEST_REPLICATES = 3
_COUNTED = {1: "one replicate", 2: "two replicates"}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a study cost; nothing of it is in the summary.

    Attributes:
        seconds: Of all trainings.
        augmentation_share: Of those seconds.
        machine: On which the study ended.
        updates_per_second: Of each training, in the order of the summary's runs.
    """

    seconds: float
    augmentation_share: float
    machine: Mapping[str, object]
    updates_per_second: tuple[float, ...]


_RESULT = TypeAdapter(RunResult)
_SUMMARY = TypeAdapter(Summary)
_COST = TypeAdapter(Cost)


def read_result(path: Path) -> RunResult | None:
    """Return the result in a file; None where there is none, or one of an older version."""
    try:
        return _RESULT.validate_python(read_json(path)) if path.exists() else None
    except ValidationError:
        return None


def write_summary(path: Path, summary: Summary) -> None:
    """Write a summary as JSON."""
    write_json(path, {"kind": "study", **asdict(summary)})


def read_summary(path: Path) -> Summary:
    """Return the summary in a file, also of an older version.

    Raises:
        WorkFolderError: There is no such file, or it holds no summary.
    """
    try:
        return _SUMMARY.validate_python(read_json(path))
    except ValidationError as fault:
        missing = ", ".join(".".join(map(str, error["loc"])) for error in fault.errors()[:3])
        raise WorkFolderError(
            f"reading {path}: it is no summary of a study ({missing}). Run the study again."
        ) from None


def write_cost(path: Path, runs: Sequence[RunResult]) -> None:
    """Write what the trainings of a study cost."""
    seconds = sum(run.cost.seconds for run in runs)
    augmentation = sum(run.cost.augmentation_seconds for run in runs)
    cost = Cost(
        seconds=seconds,
        augmentation_share=augmentation / seconds if seconds else 0.0,
        machine=machine(),
        updates_per_second=tuple(run.cost.updates / run.cost.seconds for run in runs),
    )
    write_json(path, asdict(cost))


def read_cost(path: Path) -> Cost:
    """Return what a study cost."""
    return _COST.validate_python(read_json(path))
