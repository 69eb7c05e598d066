"""The models: a prior, trained or brought, and the control of each replicate."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vcmaug.data.cases import cases_of
from vcmaug.files import atomic_path, sha256_of_file
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import FromCases, OfLabelled
from vcmaug.pipeline.artefacts.segmenters import PseudoLabels
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work
from vcmaug.zoo import zoo_entries

if TYPE_CHECKING:
    from vcmaug.ldm.prior import Prior

__all__ = ["BroughtPrior", "PriorArtefact", "TrainedControl", "TrainedPrior", "bring_prior"]


def _about(work: Work, licence: str) -> dict[str, str]:
    """Return what a card says of its origin."""
    return {"recipe": work.recipe.name, "data": work.recipe.data_note, "licence": licence}


def _hash_of_card(folder: Path) -> str | None:
    """Return the hash of a model's card, in which that of its weights stands."""
    card = folder / "card.json"
    return sha256_of_file(card) if card.is_file() else None


def _missing(folder: Path, *, kind: str, named: str) -> list[str]:
    """Return, one sentence each, what a finished prior or control lacks."""
    paths = [folder / f"{kind}.safetensors", folder / "card.json"]
    return [f"{named}: there is no {path}" for path in paths if not path.exists()]


class PriorArtefact(Artefact):
    """A prior, wherever it is from."""

    kind: ClassVar[str] = "prior"
    last: ClassVar[str] = "card.json"

    def load(self) -> "Prior":
        """Return the prior."""
        from vcmaug.ldm.prior import load_prior

        return load_prior(self.folder)


@dataclass(frozen=True, eq=False)
class BroughtPrior(PriorArtefact):
    """A finished prior, of the zoo or in a folder.

    Attributes:
        source: Its folder.
    """

    source: Path

    def settings(self) -> Mapping[str, object]:
        """Return the name in the zoo; a folder counts by the card in it."""
        return {"prior": {"zoo": self.work.recipe.prior.zoo}}

    def files(self) -> Mapping[str, object]:
        """Return the hash of its card."""
        return {"card.json": _hash_of_card(self.source)}

    def faults(self) -> list[str]:
        """Return what is not there."""
        faults = _missing(self.source, kind="prior", named="prior.folder")
        if self.source.resolve() == self.folder.resolve():
            faults.append(
                f"prior.folder: {self.source} is in this recipe's own work folder; name another"
            )
        return faults

    def _make(self, run: Run) -> None:
        """Link weights of the user, and copy those of the zoo."""
        bring_prior(self.source, self.folder, link=self.work.recipe.prior.folder is not None)


def bring_prior(source: Path, target: Path, *, link: bool) -> None:
    """Put the weights and then the card of a finished prior into a folder.

    Args:
        source: Folder of the prior.
        target: Folder that gets it.
        link: Give weights of gigabytes a second name where the file system can, since no file of a
            prior is ever written in place; the hash on the card tells whether they are still the
            same.
    """
    weights = source / "prior.safetensors"
    with atomic_path(target / weights.name) as temporary:
        if link:
            with suppress(OSError):  # as across file systems
                temporary.hardlink_to(weights.resolve())
        if not temporary.exists():
            shutil.copyfile(weights, temporary)
    with atomic_path(target / "card.json") as temporary:
        shutil.copyfile(source / "card.json", temporary)


@dataclass(frozen=True, eq=False)
class TrainedPrior(FromCases, PriorArtefact):
    """A prior that is trained on the images of the training subjects."""

    @property
    def _seed(self) -> int:
        """Of the training."""
        own = self.work.recipe.prior.seed
        return self.work.recipe.seed if own is None else own

    def settings(self) -> Mapping[str, object]:
        """Return what to build, how to train it, and the seed."""
        asked = self.work.recipe.prior.model_dump(exclude={"zoo", "folder", "seed"})
        return {"prior": {**asked, "seed": self._seed}}

    @property
    def amount(self) -> Amount:
        """The updates of both networks."""
        training = self.work.recipe.prior.training
        updates = training.autoencoder.updates + training.diffusion.updates
        return Amount(updates, "updates", on_gpu=True)

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
            about=_about(self.work, recipe.licence),
            report=run.report,
        )
        write_prior(self.folder, job.train(), half=recipe.training.half)


@dataclass(frozen=True, eq=False)
class TrainedControl(OfLabelled):
    """A control on the recipe's prior; with the unlabelled set it has pseudo-labels too."""

    prior: PriorArtefact
    pseudo: PseudoLabels | None

    kind: ClassVar[str] = "control"
    last: ClassVar[str] = "card.json"

    def settings(self) -> Mapping[str, object]:
        """Return network, channels, training, n and seed; pictures on the way decide nothing."""
        control = self.work.recipe.control.model_dump(exclude={"look_every", "start_from"})
        return {**super().settings(), "control": control}

    def files(self) -> Mapping[str, object]:
        """Return the hash of the card of the control that it starts from."""
        start = self.work.recipe.control.source
        return {} if start is None else {"control.start_from": _hash_of_card(start)}

    def faults(self) -> list[str]:
        """Return what it would start from and is not there."""
        start = self.work.recipe.control.source
        known = f", and the zoo has {', '.join(zoo_entries())}"
        found = _missing(start, kind="control", named="control.start_from") if start else []
        return [fault + known for fault in found]

    @property
    def amount(self) -> Amount:
        """The updates of its method."""
        recipe = self.work.recipe.control
        return Amount(recipe.training.updates, "updates", by=recipe.network.name, on_gpu=True)

    def _make(self, run: Run) -> None:
        """Train it, or go on with it."""
        from vcmaug.control.base import rescaled, write_control
        from vcmaug.training.control import train_control
        from vcmaug.training.loop import Watch
        from vcmaug.training.settings import ControlJob

        splits, labelled = self.splits.load(), self.labelled()
        recipe = self.work.recipe.control
        prior = rescaled(self.prior.load(), recipe.source)
        job = ControlJob(
            method=recipe.network,
            scheme=self.cases.load().scheme,
            shows=recipe.shows,
            settings=recipe.training,
            seed=self.replicate.seed,
            forbidden=splits.test + splits.validation,
            pseudo_labelled=self.pseudo.load() if self.pseudo else (),
            start_from=recipe.source,
            about=_about(self.work, recipe.licence),
        )
        watches = []
        if recipe.look_every:
            from vcmaug.pipeline.looking import pictures

            pngs, draws = self.folder / "training", self.work.recipe.generate
            looks = pictures(labelled, job, prior=prior, settings=draws, folder=pngs)
            watches.append(Watch(recipe.look_every, looks))
        control = train_control(
            labelled, prior=prior, job=job, folder=self.folder, watches=watches, report=run.report
        )
        write_control(self.folder, control, half=recipe.training.half)
