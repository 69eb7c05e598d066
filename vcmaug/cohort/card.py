"""The card of a cohort: how many cases, of what scheme and grid, and who was seen on the way."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError

from vcmaug.cohort.layout import CohortLayout
from vcmaug.config import Settings
from vcmaug.data.geometry import Grid
from vcmaug.data.labels import LabelScheme
from vcmaug.data.seen import Seen
from vcmaug.errors import CohortError
from vcmaug.files import read_json, write_json

__all__ = ["CohortCard", "SeenByCohort", "seen_maps"]


class SeenByCohort(Settings):
    """Who was seen by what a cohort was made with; None: the card does not say.

    Attributes:
        prior: By the prior; nobody where there is none.
        control: By the control, `labels` in the training on this study's cases alone. Where there
            is no control, `labels` are those whose labelled cases the cohort was made of.
        conditions: By the label maps that were asked for.
    """

    prior: Seen | None = None
    control: Seen | None = None
    conditions: Seen | None = None

    @property
    def roles(self) -> Mapping[str, Seen | None]:
        """Who was seen, by what has seen them."""
        return {"prior": self.prior, "control": self.control, "conditions": self.conditions}

    @property
    def of_models(self) -> frozenset[str]:
        """Whose images prior and control are known to have seen."""
        known = (seen for seen in (self.prior, self.control) if seen)
        return frozenset().union(*(seen.whose_images for seen in known))

    @property
    def labels_of_prior(self) -> tuple[str, ...]:
        """On whose label maps scalars of the prior were measured."""
        return self.prior.labels if self.prior else ()

    @property
    def subjects(self) -> frozenset[str]:
        """Everybody who is known to have been seen."""
        return frozenset().union(*(seen.subjects for seen in self.roles.values() if seen))


class CohortCard(Settings):
    """What a cohort came from; written after its manifest.

    Attributes:
        kind: Says that it is a cohort.
        n: Requests.
        counts: Requests by status.
        scheme: Of the label maps; it knows the user's own values where `prepare` did.
        grid: On which all cases lie.
        seen: Who was seen.
        control_pretrained_on: What the control began with, where it began with weights.
        num_redrawn: Draws that were not accepted and drawn again.
        num_restarts: How often a shard was begun again.
        seconds: Over all requests, by phase.
        conditions_folder: Where the conditions lay.
        prior_name: Of the prior.
        measured_scalars: Of the prior, names of those that are measured on label maps.
        licences: Of prior and control.
        versions: Of Python and packages.
        machine: On which the manifest was merged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # later versions may say more

    kind: Literal["cohort"] = "cohort"
    n: int
    counts: dict[str, int]
    scheme: LabelScheme
    grid: Grid
    seen: SeenByCohort
    control_pretrained_on: str | None = None
    num_redrawn: int = 0
    num_restarts: int = 0
    seconds: dict[str, float] = Field({})
    conditions_folder: str | None = None
    prior_name: str | None = None
    measured_scalars: tuple[str, ...] = ()
    licences: dict[str, str | None] = Field({})
    versions: dict[str, str] = Field({})
    machine: dict[str, str | int] = Field({})

    @classmethod
    def read(cls, folder: Path) -> "CohortCard":
        """Return the card of a finished cohort.

        Raises:
            CohortError: The cohort is not finished, or an older version made it.
        """
        path = CohortLayout(folder).card
        if not path.exists():
            raise CohortError(
                f"reading cohort {folder}: there is no cohort.json; it is not finished."
            )
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as fault:
            lacking = ", ".join(dict.fromkeys(str(error["loc"][0]) for error in fault.errors()))
            raise CohortError(
                f"reading cohort {folder}: cohort.json was made by an older version ({lacking}). "
                "Move the folder away and make the cohort again."
            ) from None

    def write(self, folder: Path) -> None:
        """Write the card of a cohort, which makes it a finished one."""
        write_json(CohortLayout(folder).card, self.model_dump(mode="json"))


def seen_maps(
    subjects: Iterable[str], *, pseudo: Iterable[str] = (), teachers: Iterable[str] = ()
) -> Seen:
    """Return what has seen the label maps of some subjects and no image.

    Args:
        subjects: All of them.
        pseudo: Those who have pseudo-labels alone.
        teachers: Whose label maps the network behind these was trained on.
    """
    everybody, guessed = set(subjects), set(pseudo)
    return Seen(
        labels=tuple(sorted(everybody - guessed)),
        pseudo_labels=tuple(sorted(everybody & guessed)),
        teachers=tuple(sorted(teachers)) if everybody & guessed else (),
    )
