"""Cohorts: what the control draws, and what an arm makes without one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vcmaug.arms.base import Arm, Sources
from vcmaug.cohort.layout import CohortLayout
from vcmaug.data.cases import Cases
from vcmaug.data.splits import Splits
from vcmaug.data.work_layout import Replicate
from vcmaug.generate.acceptance import MeasureSource
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import labelled_of
from vcmaug.pipeline.artefacts.conditions import BuiltConditions
from vcmaug.pipeline.artefacts.control import TrainedControl
from vcmaug.pipeline.artefacts.prior import PriorArtefact
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

__all__ = ["ArmCohort", "CohortArtefact", "DrawnCohort"]


class CohortArtefact(Artefact[Path]):
    """A cohort, however it was made."""

    replicate: Replicate

    @property
    def is_whole(self) -> bool:
        """Whether what is written last is there; the files of its cases are not looked at."""
        return CohortLayout(self.folder).is_finished

    def load(self) -> Path:
        """Return its folder."""
        return self.folder


@dataclass(frozen=True, eq=False)
class DrawnCohort(CohortArtefact):
    """What the control of a replicate draws for its conditions."""

    work: Work
    replicate: Replicate
    prior: PriorArtefact
    control: TrainedControl
    conditions: BuiltConditions
    measure: Artefact[MeasureSource] | None = None

    kind: ClassVar[str] = "cohort"

    @property
    def name(self) -> str:
        """Such as cohort-n10-s0."""
        return f"{self.kind}-{self.replicate.name}"

    @property
    def folder(self) -> Path:
        """In the folder of the replicate."""
        return self.replicate.cohort

    def settings(self) -> Mapping[str, Any]:
        """Return how to draw, how many, and the seed; how shards are cut decides nothing."""
        generate = json_like(self.work.recipe.generate, without=("micro_batches_per_shard",))
        return {"generate": generate, "seed": self.replicate.seed}

    @property
    def amount(self) -> Amount:
        """The steps of all draws."""
        generate = self.work.recipe.generate
        return Amount(generate.n * generate.sampler.steps, "steps of sampling", shared=True)

    @property
    def on_gpu(self) -> bool:
        """Draws take a GPU where they are told to."""
        return True

    @property
    def variant(self) -> str:
        """The method that steers them."""
        return self.control.variant

    def _make(self, run: Run) -> None:
        """Draw it, or what is missing of it."""
        from vcmaug.generate.planning import make_plan
        from vcmaug.generate.run import generate

        recipe = self.work.recipe.generate
        plan = make_plan(
            recipe.of_plan,
            prior_folder=self.prior.folder,
            control_folder=self.control.folder,
            conditions_folder=self.conditions.folder,
            n=recipe.n,
            seed=self.replicate.seed,
            measure=self.measure.load() if self.measure else None,
        )
        generate(plan, out=self.folder, compute=run.compute, report=run.report)


@dataclass(frozen=True, eq=False)
class ArmCohort(CohortArtefact):
    """The cohort that an arm makes itself."""

    work: Work
    replicate: Replicate
    arm: Arm
    out: Path
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    from_others: tuple[Artefact[Any], ...]
    conditions: Path

    kind: ClassVar[str] = "arm"

    @property
    def name(self) -> str:
        """Such as copy-paste-n10-s0."""
        return f"{self.out.name}-{self.replicate.name}"

    @property
    def folder(self) -> Path:
        """In the folder of the replicate."""
        return self.out

    def settings(self) -> Mapping[str, Any]:
        """Return the arm, how many, n and seed."""
        asked = {"num_labelled": self.replicate.num_labelled, "seed": self.replicate.seed}
        return {"arm": json_like(self.arm), "generate": {"n": self.work.recipe.generate.n}, **asked}

    @property
    def amount(self) -> Amount:
        """How many."""
        return Amount(self.work.recipe.generate.n, "cases")

    @property
    def variant(self) -> str:
        """The arm."""
        return self.arm.name

    def _make(self, run: Run) -> None:
        """Let the arm make it."""
        cases = self.cases.load()
        sources = Sources(
            cases=labelled_of(cases, self.splits.load(), self.replicate),
            scheme=cases.scheme,
            conditions=self.conditions,
            n=self.work.recipe.generate.n,
            seed=self.replicate.seed,
        )
        self.arm.make(sources, out=self.folder, report=run.report)
