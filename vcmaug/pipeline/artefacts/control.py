"""The control of a replicate, trained on exactly its n labelled cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vcmaug.data.cases import Case, Cases
from vcmaug.data.labels import LabelScheme
from vcmaug.data.splits import Splits
from vcmaug.data.work_layout import Replicate
from vcmaug.files import sha256_of_file
from vcmaug.pipeline.artefact import Artefact, Run
from vcmaug.pipeline.artefacts.cases import labelled_of
from vcmaug.pipeline.artefacts.prior import PriorArtefact, about_model
from vcmaug.pipeline.marker import json_like
from vcmaug.pipeline.models import missing_control
from vcmaug.pipeline.rates import Amount
from vcmaug.pipeline.work import Work

if TYPE_CHECKING:
    from vcmaug.control.base import Control
    from vcmaug.ldm.prior import Prior
    from vcmaug.training.loop import Watch

__all__ = ["TrainedControl"]


@dataclass(frozen=True, eq=False)
class TrainedControl(Artefact["Control"]):
    """A control on the recipe's prior; with the pool it has the pseudo-labelled cases too."""

    work: Work
    replicate: Replicate
    cases: Artefact[Cases]
    splits: Artefact[Splits]
    prior: PriorArtefact
    pseudo: Artefact[tuple[Case, ...]] | None = None

    kind: ClassVar[str] = "control"

    @property
    def name(self) -> str:
        """Such as control-n10-s0."""
        return f"{self.kind}-{self.replicate.name}"

    @property
    def folder(self) -> Path:
        """In the folder of the replicate."""
        return self.replicate.control

    def settings(self) -> Mapping[str, Any]:
        """Return network, channels, training, n and seed; pictures on the way decide nothing."""
        control = json_like(self.work.recipe.control, without=("look_every", "start_from"))
        asked = {"num_labelled": self.replicate.num_labelled, "seed": self.replicate.seed}
        return {"control": control, **asked}

    def files(self) -> Mapping[str, Any]:
        """Return the hash of the card of the control that it starts from."""
        start = self.work.recipe.control.source
        if start is None:
            return {}
        card = start / "card.json"
        return {"control.start_from": sha256_of_file(card) if card.is_file() else None}

    def faults(self) -> list[str]:
        """Return what it would start from and is not there."""
        return missing_control(self.work)

    @property
    def is_whole(self) -> bool:
        """Whether its card, which is written last, is there."""
        return self.replicate.control_card.exists()

    @property
    def amount(self) -> Amount:
        """The updates."""
        return Amount(self.work.recipe.control.training.updates, "updates")

    @property
    def on_gpu(self) -> bool:
        """Trainings take a GPU where there is one."""
        return True

    @property
    def variant(self) -> str:
        """The method."""
        return self.work.recipe.control.network.name

    def load(self) -> "Control":
        """Return the control."""
        from vcmaug.control.base import load_control

        return load_control(self.folder, prior=self.prior.load())

    def _make(self, run: Run) -> None:
        """Train it, or go on with it."""
        from vcmaug.control.base import write_control
        from vcmaug.pipeline.models import prior_under
        from vcmaug.training.control import ControlJob, train_control

        cases, splits = self.cases.load(), self.splits.load()
        labelled = labelled_of(cases, splits, self.replicate)
        recipe = self.work.recipe.control
        prior = prior_under(recipe.source, self.prior.folder)
        job = ControlJob(
            method=recipe.network,
            scheme=cases.scheme,
            shows=recipe.shows,
            settings=recipe.training,
            seed=self.replicate.seed,
            forbidden=splits.test + splits.validation,
            pseudo_labelled=self.pseudo.load() if self.pseudo else (),
            start_from=recipe.source,
            about=about_model(self.work, recipe.licence),
        )
        control = train_control(
            labelled,
            prior=prior,
            job=job,
            folder=self.folder,
            watches=self._watches(labelled, prior, cases.scheme),
            report=run.report,
        )
        write_control(self.folder, control, half=recipe.training.half)

    def _watches(
        self, labelled: Sequence[Case], prior: "Prior", scheme: LabelScheme
    ) -> "list[Watch]":
        """Return what draws pictures on the way, where the recipe asks for them."""
        recipe = self.work.recipe.control
        if not recipe.look_every:
            return []
        from vcmaug.pipeline.looking import pictures

        look = pictures(
            labelled,
            every=recipe.look_every,
            prior=prior,
            scheme=scheme,
            method=recipe.network,
            shows=recipe.shows,
            settings=self.work.recipe.generate,
            seed=self.replicate.seed,
            folder=self.folder / "training",
        )
        return [look]
