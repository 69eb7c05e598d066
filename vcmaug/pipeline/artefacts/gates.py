"""The gates as artefacts: each with what it needs, in the order in which they are read."""

import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vcmaug.config import JsonFile
from vcmaug.files import read_json, write_json
from vcmaug.gates.base import GateGround, GateResult
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import FromCases
from vcmaug.pipeline.artefacts.models import PriorArtefact
from vcmaug.pipeline.artefacts.results import Evaluation
from vcmaug.pipeline.artefacts.segmenters import IndependentEvaluator
from vcmaug.pipeline.rates import Amount
from vcmaug.provenance import machine, versions

__all__ = ["AllGates", "AutoencoderGate", "ControlGate", "Gate", "PriorGate", "SegmenterGate"]

_OF_TRAINING = {"task", "segmenter", "augment", "fit", "lesions"}
_SHOWN = 64


class GateFile(JsonFile):
    """What others ask of a gate's file; all that was measured stands beside.

    Attributes:
        passed: Whether every limit is held.
        dice: Mean on validation subjects, where a segmenter was trained.
    """

    passed: bool
    dice: float = math.nan


@dataclass(frozen=True, eq=False)
class Gate(Artefact):
    """One gate: a file in WORK/gates.

    Attributes:
        number: Its place among the gates.
    """

    number: int

    kind: ClassVar[str] = "gate"

    @property
    @abstractmethod
    def measures(self) -> str:
        """What is measured, such as segmenter."""

    @property
    def name(self) -> str:
        """Such as gate-1-segmenter."""
        return f"{self.kind}-{self.folder.stem}"

    @property
    def title(self) -> str:
        """Its verdict."""
        return f"gate {self.folder.stem}: {'passed' if self.load().passed else 'FAILED'}"

    @property
    def folder(self) -> Path:
        """Its file."""
        return self.work.gates / f"{self.number}-{self.measures}.json"

    def settings(self) -> Mapping[str, object]:
        """Return the settings of the gates, and the training of the study's network."""
        recipe = self.work.recipe
        return {"gates": recipe.gates, "study": recipe.study.model_dump(include=_OF_TRAINING)}

    def load(self) -> GateFile:
        """Return its verdict and its figures."""
        return GateFile.read(self.folder)

    @abstractmethod
    def measure(self, run: Run) -> GateResult:
        """Return what it measures."""

    def _make(self, run: Run) -> None:
        """Measure it, and write its figures."""
        began = time.perf_counter()
        result = self.measure(run)
        if result.samples is not None:
            from vcmaug.report.figures import write_mosaic

            write_mosaic(self.work.gates / "samples.png", result.samples[:_SHOWN])
        row = {"gate": self.folder.stem, "passed": result.passed, **result.figures}
        row |= {"limit": result.words, "seconds": round(time.perf_counter() - began, 1)}
        write_json(self.folder, row)


@dataclass(frozen=True, eq=False)
class _GateOnCases(FromCases, Gate):
    """A gate that is measured on validation cases."""

    def ground(self, run: Run) -> GateGround:
        """Return what it works on."""
        recipe = self.work.recipe
        cases, splits = self.cases.load(), self.splits.load()
        return GateGround(cases, splits, recipe.study, recipe.gates, run.report)


@dataclass(frozen=True, eq=False)
class SegmenterGate(_GateOnCases):
    """Is the segmenter at its plateau?"""

    measures = "segmenter"

    @property
    def amount(self) -> Amount:
        """The updates of a whole training and of half a one."""
        return Amount(1.5 * self.work.recipe.study.fit.updates, "updates", by=self.measures)

    def measure(self, run: Run) -> GateResult:
        """Train it twice."""
        from vcmaug.gates.measure import measure_segmenter

        return measure_segmenter(self.ground(run))


@dataclass(frozen=True, eq=False)
class AutoencoderGate(_GateOnCases):
    """Does the autoencoder keep what the segmenter needs?"""

    prior: PriorArtefact
    segmenter: SegmenterGate

    measures = "autoencoder"

    @property
    def amount(self) -> Amount:
        """The updates of a training."""
        return Amount(self.work.recipe.study.fit.updates, "updates", by=self.measures)

    def measure(self, run: Run) -> GateResult:
        """Train a segmenter on reconstructions."""
        from vcmaug.gates.measure import measure_autoencoder

        dice = self.segmenter.load().dice
        return measure_autoencoder(self.ground(run), self.prior.load(), dice=dice)


@dataclass(frozen=True, eq=False)
class PriorGate(_GateOnCases):
    """Are the prior's samples real?"""

    prior: PriorArtefact
    evaluator: IndependentEvaluator

    measures = "prior"

    @property
    def amount(self) -> Amount:
        """The steps of all draws."""
        gates = self.work.recipe.gates
        steps = gates.num_samples * gates.sampler.steps
        return Amount(steps, "steps of sampling", by=self.measures)

    def measure(self, run: Run) -> GateResult:
        """Draw without a control."""
        from vcmaug.gates.measure import measure_prior

        return measure_prior(self.ground(run), self.prior.load(), evaluator=self.evaluator.load())


@dataclass(frozen=True, eq=False)
class ControlGate(Gate):
    """Do the images that a control draws fit their labels?"""

    evaluation: Evaluation

    @property
    def measures(self) -> str:
        """Such as control-n10."""
        return f"control-n{self.evaluation.replicate.num_labelled}"

    @property
    def amount(self) -> Amount:
        """One reading of an evaluation, whatever n."""
        return Amount(by="control")

    def measure(self, run: Run) -> GateResult:
        """Read the evaluation of its cohort."""
        from vcmaug.gates.measure import measure_control

        num_labelled = self.evaluation.replicate.num_labelled
        return measure_control(self.evaluation.load(), num_labelled=num_labelled)


@dataclass(frozen=True, eq=False)
class AllGates(Artefact):
    """All gates in one file."""

    gates: tuple[Gate, ...]

    kind: ClassVar[str] = "gates"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/gates.json."""
        return self.work.gates_file

    def _make(self, run: Run) -> None:
        """Gather them."""
        found = [read_json(gate.folder) for gate in self.gates]
        content = {"kind": "gates", "gates": found, "versions": versions(), "machine": machine()}
        write_json(self.folder, content)
