"""The conditions of a replicate, built from its n labelled cases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vcmaug.data.cases import Case, Cases
from vcmaug.data.splits import Splits
from vcmaug.data.work_layout import Replicate
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import labelled_of
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.models import scalars_of_prior
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

__all__ = ["BuiltConditions"]


@dataclass(frozen=True, eq=False)
class BuiltConditions(Artefact[Path]):
    """Label maps and scalars to ask for; with the pool from pseudo-labelled cases too."""

    work: Work
    replicate: Replicate
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    pseudo: Artefact[tuple[Case, ...]] | None = None

    kind: ClassVar[str] = "conditions"

    @property
    def name(self) -> str:
        """Such as conditions-n10-s0."""
        return f"{self.kind}-{self.replicate.name}"

    @property
    def folder(self) -> Path:
        """In the folder of the replicate."""
        return self.replicate.conditions

    def settings(self) -> Mapping[str, Any]:
        """Return the chains, how many, the prior's scalars, n and seed."""
        scalars = [json_like(spec) for spec in scalars_of_prior(self.work)]
        asked = {"num_labelled": self.replicate.num_labelled, "seed": self.replicate.seed}
        conditions = json_like(self.work.recipe.conditions)
        return {"conditions": conditions, "prior": {"scalars": scalars}, **asked}

    def files(self) -> Mapping[str, Any]:
        """Return name and size of each file that builders read."""
        files = self.work.recipe.conditions.files()
        return {f"{number}: {name}": size for number, (name, size) in enumerate(files)}

    def faults(self) -> list[str]:
        """Return the files that builders name and that are not there."""
        return [f"conditions: {fault}" for fault in self.work.recipe.conditions.missing_files()]

    @property
    def is_whole(self) -> bool:
        """Whether its table, which is written last, is there."""
        return self.replicate.conditions_table.exists()

    @property
    def amount(self) -> Amount:
        """How many."""
        return Amount(self.work.recipe.conditions.n, "conditions", shared=True)

    @property
    def variant(self) -> str:
        """The builders."""
        chains = self.work.recipe.conditions.chains
        return " ".join("+".join(step.name for step in chain.steps) for chain in chains)

    def load(self) -> Path:
        """Return their folder."""
        return self.folder

    def _make(self, run: Run) -> None:
        """Build them; those that are there and whole are kept."""
        from vcmaug.conditions.build import build_conditions

        cases, splits = self.cases.load(), self.splits.load()
        recipe = self.work.recipe.conditions
        sources = labelled_of(cases, splits, self.replicate)
        build_conditions(
            recipe.of_builders,
            sources + (self.pseudo.load() if self.pseudo else ()),
            folder=self.folder,
            scheme=cases.scheme,
            n=recipe.n,
            seed=self.replicate.seed,
            roles=splits.roles,
            scalars=scalars_of_prior(self.work),
            lazy=recipe.lazy,
            compute=run.compute,
            report=run.report,
        )
