"""What all gates share: their settings, limits that word themselves, and what they work on."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vcmaug.config import Settings
from vcmaug.data.cases import Case, Cases, cases_of
from vcmaug.data.splits import Splits
from vcmaug.downstream.settings import FitSettings, StudySettings
from vcmaug.generate.samplers import DDIM, Sampler
from vcmaug.progress import Report, silent
from vcmaug.quality.settings import RealismSettings

if TYPE_CHECKING:
    from vcmaug.data.volumes import LabelledVolumes

__all__ = ["GateGround", "GateResult", "GateSettings", "Limit"]

_HOLDS = {"at least": operator.ge, "at most": operator.le, "below": operator.lt}


class GateSettings(Settings):
    """What is measured before a study; see `vcmaug gates`."""

    num_labelled: int | None = Field(
        None, ge=1, description="of a control with very many labels; None: no such gate"
    )
    seed: int = 0
    least_dice: float = Field(0.88, ge=0, le=1, description="of the segmenter with all labels")
    num_samples: int = Field(128, ge=8, description="unconditional draws")
    sampler: Sampler = DDIM(steps=30)
    realism: RealismSettings = RealismSettings()


@dataclass(frozen=True)
class Limit:
    """A bound on one figure, and the sentence that says so.

    Examples:
        >>> limit = Limit("AUC of samples", 0.7, "at most", 0.8)
        >>> str(limit), limit.is_held
        ('AUC of samples at most 0.8', True)

    Attributes:
        figure: What is bounded, in words.
        value: As it was measured; NaN holds no bound.
        relation: On which side of the bound it must lie.
        bound: The number.
    """

    figure: str
    value: float
    relation: Literal["at least", "at most", "below"]
    bound: float

    @property
    def is_held(self) -> bool:
        """Whether the figure is where it must be."""
        return bool(_HOLDS[self.relation](self.value, self.bound))

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.figure} {self.relation} {self.bound:g}"


@dataclass(frozen=True)
class GateResult:
    """What a gate measured.

    Attributes:
        figures: By name.
        limits: It is passed where all of them are held.
        limit: The limits in words, also where there is nothing to hold against them.
        samples: Images [N, X, Y, Z] for a picture.
    """

    figures: Mapping[str, object]
    limits: Sequence[Limit]
    samples: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def passed(self) -> bool:
        """Whether every limit is held."""
        return all(limit.is_held for limit in self.limits)

    @property
    def words(self) -> str:
        """The limits as one sentence."""
        return ", ".join(dict.fromkeys(map(str, self.limits)))


@dataclass(frozen=True)
class GateGround:
    """What gates work on.

    Attributes:
        cases: Prepared ones.
        splits: Who may be seen.
        study: Whose segmenter is trained.
        settings: Of the gates.
        report: Told within the long ones.
    """

    cases: Cases
    splits: Splits
    study: StudySettings
    settings: GateSettings
    report: Report = silent

    @cached_property
    def train(self) -> "LabelledVolumes":
        """All training cases with their labels, in memory."""
        return self.read(self.splits.train)

    @cached_property
    def validation(self) -> "LabelledVolumes":
        """The validation cases with their labels, in memory."""
        return self.read(self.splits.validation)

    def cases_of(self, subjects: Sequence[str]) -> tuple[Case, ...]:
        """Return the cases of some subjects."""
        return cases_of(self.cases.cases, subjects)

    def read(self, subjects: Sequence[str]) -> "LabelledVolumes":
        """Return the labelled cases of some subjects in memory."""
        return self.cases.of(subjects).labelled().read()

    def score_of(self, train: "LabelledVolumes", settings: FitSettings) -> float:
        """Return the mean score on validation of a network trained on some volumes."""
        from vcmaug.downstream.fit import fit

        study = self.study.model_copy(update={"fit": settings})
        known, task, held_out = study.ground(self.cases.scheme), study.task, self.validation
        network, _ = fit(train, None, study=study, seed=self.settings.seed, report=self.report)
        inputs, targets = task.examples(*held_out.tensors())
        headline, spacing_mm = task.scores[0].name, held_out.spacing_mm
        scores = [
            float(row[headline])
            for found, target in zip(task.predict(network, inputs), targets.numpy(), strict=True)
            for row in task.score(found, target, ground=known, spacing_mm=spacing_mm)
        ]
        return float(np.mean(scores))
