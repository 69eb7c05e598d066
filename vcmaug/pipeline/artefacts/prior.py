"""The prior: trained on the recipe's own cases, or brought from the zoo or a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vcmaug.data.cases import Cases, cases_of
from vcmaug.data.splits import Splits
from vcmaug.files import sha256_of_file
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.models import bring_prior, missing_prior
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

if TYPE_CHECKING:
    from vcmaug.ldm.prior import Prior

__all__ = ["BroughtPrior", "PriorArtefact", "TrainedPrior", "about_model"]


def about_model(work: Work, licence: str) -> dict[str, Any]:
    """Return what a card says of its origin."""
    return {"recipe": work.recipe.name, "data": work.recipe.data_note, "licence": licence}


class PriorArtefact(Artefact["Prior"]):
    """A prior, wherever it is from."""

    kind: ClassVar[str] = "prior"

    @property
    def folder(self) -> Path:
        """WORK/prior."""
        return self.work.prior

    @property
    def is_whole(self) -> bool:
        """Whether its card, which is written last, is there."""
        return self.work.prior_card.exists()

    def load(self) -> "Prior":
        """Return the prior."""
        from vcmaug.ldm.prior import load_prior

        return load_prior(self.folder)


@dataclass(frozen=True, eq=False)
class BroughtPrior(PriorArtefact):
    """A finished prior, of the zoo or in a folder."""

    work: Work

    def settings(self) -> Mapping[str, Any]:
        """Return the name in the zoo; a folder counts by the card in it."""
        return {"prior": {"zoo": self.work.recipe.prior.zoo}}

    def files(self) -> Mapping[str, Any]:
        """Return the hash of its card, in which that of its weights stands."""
        source = self.work.recipe.prior.source
        card = None if source is None else source / "card.json"
        return {"card.json": sha256_of_file(card) if card and card.is_file() else None}

    def faults(self) -> list[str]:
        """Return what is not there."""
        return missing_prior(self.work)

    def _make(self, run: Run) -> None:
        """Link or copy it."""
        del run
        bring_prior(self.work.recipe.prior, self.folder)


@dataclass(frozen=True, eq=False)
class TrainedPrior(PriorArtefact):
    """A prior that is trained on the images of the training subjects."""

    work: Work
    cases: Artefact[Cases]
    splits: Artefact[Splits]

    @property
    def _seed(self) -> int:
        """Of the training."""
        own = self.work.recipe.prior.seed
        return self.work.recipe.seed if own is None else own

    def settings(self) -> Mapping[str, Any]:
        """Return what to build, how to train it, and the seed."""
        without = ("zoo", "folder", "seed")
        return {"prior": json_like(self.work.recipe.prior, without=without) | {"seed": self._seed}}

    @property
    def amount(self) -> Amount:
        """The updates of both networks."""
        training = self.work.recipe.prior.training
        return Amount(training.autoencoder.updates + training.diffusion.updates, "updates")

    @property
    def on_gpu(self) -> bool:
        """Trainings take a GPU where there is one."""
        return True

    def _make(self, run: Run) -> None:
        """Train autoencoder and diffusion model, or go on with them."""
        from vcmaug.ldm.prior import write_prior
        from vcmaug.training.prior import PriorJob

        recipe, splits = self.work.recipe.prior, self.splits.load()
        cases = self.cases.load().cases
        job = PriorJob(
            cases=cases_of(cases, splits.train),
            held_out=cases_of(cases, splits.validation),
            spec=recipe.spec_to_train,
            settings=recipe.training,
            seed=self._seed,
            folder=self.folder,
            about=about_model(self.work, recipe.licence),
            report=run.report,
        )
        write_prior(self.folder, job.train(), half=recipe.training.half)
