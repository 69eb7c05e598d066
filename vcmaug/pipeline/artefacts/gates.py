"""The gates as artefacts: each with what it needs, in the order in which they are read."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vcmaug.data.cases import Cases
from vcmaug.data.splits import Splits
from vcmaug.files import read_json, write_json
from vcmaug.gates.base import GateGround, GateResult
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.evaluation import Evaluation, IndependentEvaluator
from vcmaug.pipeline.artefacts.prior import PriorArtefact
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work
from vcmaug.provenance import machine, versions

__all__ = ["AllGates", "AutoencoderGate", "ControlGate", "Gate", "PriorGate", "SegmenterGate"]

_DECIDES = ("task", "segmenter", "augment", "fit", "lesions")
_SHOWN = 64


class Gate(Artefact[dict[str, Any]]):
    """One gate: a file in WORK/gates.

    Attributes:
        number: Its place among the gates.
        gate: What is measured.
    """

    number: int
    gate: ClassVar[str]
    kind: ClassVar[str] = "gate"

    @property
    def label(self) -> str:
        """Such as 1-segmenter."""
        return f"{self.number}-{self.gate}"

    @property
    def name(self) -> str:
        """Such as gate-1-segmenter."""
        return f"{self.kind}-{self.label}"

    @property
    def title(self) -> str:
        """Its verdict."""
        return f"gate {self.label}: {'passed' if self.load()['passed'] else 'FAILED'}"

    @property
    def folder(self) -> Path:
        """Its file."""
        return self.work.gates / f"{self.label}.json"

    @property
    def variant(self) -> str:
        """What is measured."""
        return self.gate

    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the gates, and the training of the study's network."""
        study = json_like(self.work.recipe.study)
        gates = json_like(self.work.recipe.gates)
        return {"gates": gates, "study": {name: study[name] for name in _DECIDES}}

    def load(self) -> dict[str, Any]:
        """Return its figures and its verdict."""
        content: dict[str, Any] = read_json(self.folder)
        return content

    def measure(self, run: Run) -> GateResult:
        """Return what it measures."""
        raise NotImplementedError

    def _make(self, run: Run) -> None:
        """Measure it, and write its figures."""
        began = time.perf_counter()
        result = self.measure(run)
        if result.samples is not None:
            from vcmaug.report.figures import write_mosaic

            write_mosaic(self.work.gates / "samples.png", result.samples[:_SHOWN])
        row = {"gate": self.label, "passed": result.passed, **result.figures}
        row |= {"limit": result.words, "seconds": round(time.perf_counter() - began, 1)}
        write_json(self.folder, row)

    def ground(self, cases: Artefact[Cases], splits: Artefact[Splits], run: Run) -> GateGround:
        """Return what a gate works on."""
        recipe = self.work.recipe
        return GateGround(cases.load(), splits.load(), recipe.study, recipe.gates, run.report)


@dataclass(frozen=True, eq=False)
class SegmenterGate(Gate):
    """Is the segmenter at its plateau?"""

    work: Work
    number: int
    cases: Artefact[Cases]
    splits: Artefact[Splits]

    gate: ClassVar[str] = "segmenter"

    @property
    def amount(self) -> Amount:
        """The updates of a whole training and of half a one."""
        return Amount(1.5 * self.work.recipe.study.fit.updates, "updates")

    def measure(self, run: Run) -> GateResult:
        """Train it twice."""
        from vcmaug.gates.measure import measure_segmenter

        return measure_segmenter(self.ground(self.cases, self.splits, run))


@dataclass(frozen=True, eq=False)
class AutoencoderGate(Gate):
    """Does the autoencoder keep what the segmenter needs?"""

    work: Work
    number: int
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    prior: PriorArtefact
    segmenter: SegmenterGate

    gate: ClassVar[str] = "autoencoder"

    @property
    def amount(self) -> Amount:
        """The updates of a training."""
        return Amount(self.work.recipe.study.fit.updates, "updates")

    def measure(self, run: Run) -> GateResult:
        """Train a segmenter on reconstructions."""
        from vcmaug.gates.measure import measure_autoencoder

        ground = self.ground(self.cases, self.splits, run)
        return measure_autoencoder(ground, self.prior.load(), dice=self.segmenter.load()["dice"])


@dataclass(frozen=True, eq=False)
class PriorGate(Gate):
    """Are the prior's samples real?"""

    work: Work
    number: int
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    prior: PriorArtefact
    evaluator: IndependentEvaluator

    gate: ClassVar[str] = "prior"

    @property
    def amount(self) -> Amount:
        """The steps of all draws."""
        gates = self.work.recipe.gates
        return Amount(gates.num_samples * gates.sampler.steps, "steps of sampling")

    def measure(self, run: Run) -> GateResult:
        """Draw without a control."""
        from vcmaug.gates.measure import measure_prior

        ground = self.ground(self.cases, self.splits, run)
        return measure_prior(ground, self.prior.load(), reads=self.evaluator.load())


@dataclass(frozen=True, eq=False)
class ControlGate(Gate):
    """Do the images that a control draws fit their labels?"""

    work: Work
    number: int
    evaluation: Evaluation

    @property
    def _num_labelled(self) -> int:
        """Labelled cases of the control."""
        return self.evaluation.cohort.replicate.num_labelled

    @property
    def gate(self) -> str:  # type: ignore[override]
        """Such as control-n10."""
        return f"control-n{self._num_labelled}"

    @property
    def variant(self) -> str:
        """A control, whatever n."""
        return "control"

    def measure(self, run: Run) -> GateResult:
        """Read the evaluation of its cohort."""
        from vcmaug.gates.measure import measure_control

        del run
        return measure_control(self.evaluation.load(), num_labelled=self._num_labelled)


@dataclass(frozen=True, eq=False)
class AllGates(Artefact[dict[str, Any]]):
    """All gates in one file."""

    work: Work
    gates: tuple[Gate, ...]

    kind: ClassVar[str] = "gates"
    sets_aside: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """WORK/gates.json."""
        return self.work.gates_file

    def load(self) -> dict[str, Any]:
        """Return what all gates measured."""
        content: dict[str, Any] = read_json(self.folder)
        return content

    def _make(self, run: Run) -> None:
        """Gather them."""
        del run
        found = [gate.load() for gate in self.gates]
        content = {"kind": "gates", "gates": found, "versions": versions(), "machine": machine()}
        write_json(self.folder, content)
