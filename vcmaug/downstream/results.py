"""Results of a study as records: of one training, and of the whole grid.

A run writes its own file; the study writes `summary.json`, which the report and the command line
read again, those of older versions too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vcmaug.downstream.statistics import Estimate, Share
from vcmaug.downstream.tasks.base import Score
from vcmaug.downstream.tasks.segmentation import Segmentation
from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json, write_json

__all__ = [
    "Difference",
    "FitRecord",
    "GapClosed",
    "Mean",
    "RunFacts",
    "RunResult",
    "Summary",
    "read_result",
    "read_summary",
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

    updates_per_second: float | None = None


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
        return RunFacts(**same, updates_per_second=self.cost.updates / self.cost.seconds)


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
    """What came out of a study, and what it cost.

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
        runs: Every training.
        seconds: Of all trainings.
        augmentation_share: Of those seconds.
        empty_rule: What is scored where there is nothing to compare.
        seeds_resampled: Whether intervals are over seeds too.
        interval: Of what kind the intervals are, in words.
        versions: Of Python and packages.
        machine: On which the study ended.
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
    runs: tuple[RunFacts, ...]
    seconds: float
    augmentation_share: float
    empty_rule: str = ""
    seeds_resampled: bool = False
    interval: str
    versions: Mapping[str, object] = field(default_factory=dict)
    machine: Mapping[str, object] = field(default_factory=dict)

    @property
    def headline(self) -> Score:
        """The score that headlines and plots show."""
        return self.scores[0]


_RESULT = TypeAdapter(RunResult)
_SUMMARY = TypeAdapter(Summary)


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
