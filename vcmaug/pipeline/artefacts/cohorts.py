"""Conditions, what the control draws for them, and the cohorts that arms make themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vcmaug.arms.base import Arm, Sources
from vcmaug.cohort.layout import CohortLayout
from vcmaug.pipeline.artefact import Artefact, OfReplicate, Run
from vcmaug.pipeline.artefacts.cases import OfLabelled, WholeCases
from vcmaug.pipeline.artefacts.models import PriorArtefact, TrainedControl
from vcmaug.pipeline.artefacts.segmenters import AcceptanceMeasure, PseudoLabels
from vcmaug.pipeline.rates import Amount

__all__ = ["ArmCohort", "BuiltConditions", "DrawnCohort"]


@dataclass(frozen=True, eq=False)
class BuiltConditions(OfLabelled):
    """Label maps and scalars to ask for; with the unlabelled set from pseudo-labels too."""

    pseudo: PseudoLabels | None
    whole: WholeCases | None

    kind: ClassVar[str] = "conditions"
    last: ClassVar[str] = "conditions.parquet"

    def settings(self) -> Mapping[str, object]:
        """Return the chains, how many, the prior's scalars, n and seed."""
        recipe = self.work.recipe
        prior = {"scalars": recipe.prior.scalars}
        return {**super().settings(), "conditions": recipe.conditions, "prior": prior}

    def files(self) -> Mapping[str, object]:
        """Return name and hash of each file that builders read."""
        files = self.work.recipe.conditions.files()
        return {f"{number}: {name}": sha256 for number, (name, sha256) in enumerate(files)}

    def faults(self) -> list[str]:
        """Return the files that builders name and that are not there."""
        return [f"conditions: {fault}" for fault in self.work.recipe.conditions.missing_files()]

    @property
    def amount(self) -> Amount:
        """How many, and by which builders."""
        recipe = self.work.recipe.conditions
        builders = ["+".join(step.name for step in chain.steps) for chain in recipe.chains]
        return Amount(recipe.n, "conditions", by=" ".join(builders), is_shared=True)

    def _make(self, run: Run) -> None:
        """Build them; those that are there and whole are kept."""
        from vcmaug.conditions.build import build_conditions

        recipe = self.work.recipe.conditions
        build_conditions(
            recipe.of_builders,
            self.labelled() + (self.pseudo.load() if self.pseudo else ()),
            folder=self.folder,
            scheme=self.cases.load().scheme,
            n=recipe.n,
            seed=self.replicate.seed,
            roles=self.splits.load().roles,
            scalars=self.work.recipe.prior.scalars,
            lazy=recipe.lazy,
            whole=self.whole.load().cases if self.whole else (),
            compute=run.compute,
            report=run.report,
        )


@dataclass(frozen=True, eq=False)
class DrawnCohort(OfReplicate):
    """What the control of a replicate draws for its conditions."""

    prior: PriorArtefact
    control: TrainedControl
    conditions: BuiltConditions
    measure: AcceptanceMeasure | None

    kind: ClassVar[str] = "cohort"

    @property
    def is_whole(self) -> bool:
        """Whether what is written last is there; the files of its cases are not looked at."""
        return CohortLayout(self.folder).is_finished

    def settings(self) -> Mapping[str, object]:
        """Return how to draw, how many, and the seed; how shards are cut decides nothing."""
        generate = self.work.recipe.generate.model_dump(exclude={"micro_batches_per_shard"})
        return {"generate": generate, "seed": self.replicate.seed}

    @property
    def amount(self) -> Amount:
        """The steps of all draws, steered by a method."""
        recipe, method = self.work.recipe.generate, self.work.recipe.control.network.name
        steps = recipe.n * recipe.sampler.steps
        return Amount(steps, "steps of sampling", by=method, is_shared=True, on_gpu=True)

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
class ArmCohort(OfLabelled):
    """The cohort that an arm makes itself.

    Attributes:
        arm: That makes it.
        out: Its folder, in that of the replicate.
        from_others: What the arm needs.
        conditions: Folder of the conditions that it may take.
    """

    arm: Arm
    out: Path
    from_others: tuple[Artefact, ...]
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

    @property
    def is_whole(self) -> bool:
        """Whether what is written last is there; the files of its cases are not looked at."""
        return CohortLayout(self.folder).is_finished

    def settings(self) -> Mapping[str, object]:
        """Return the arm, how many, n and seed."""
        generate = {"n": self.work.recipe.generate.n}
        return {**super().settings(), "arm": self.arm, "generate": generate}

    @property
    def amount(self) -> Amount:
        """How many."""
        return Amount(self.work.recipe.generate.n, "cases", by=self.arm.name)

    def _make(self, run: Run) -> None:
        """Let the arm make it."""
        sources = Sources(
            cases=self.labelled(),
            scheme=self.cases.load().scheme,
            conditions=self.conditions,
            n=self.work.recipe.generate.n,
            seed=self.replicate.seed,
        )
        self.arm.make(sources, out=self.folder, report=run.report)
