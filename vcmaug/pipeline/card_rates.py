"""What trainings took by the cards of the zoo, where this machine has measured none of the kind."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from vcmaug.data.geometry import Grid
from vcmaug.files import read_json
from vcmaug.pipeline.rates import Cost, Rated
from vcmaug.zoo import zoo_entries, zoo_folder

__all__ = ["rate_of_cards"]


class _Spec(BaseModel):
    """Where images lie."""

    grid: Grid


class _Training(BaseModel):
    """The updates of a control, or of the two networks of a prior."""

    updates: int = 0
    autoencoder: "_Training | None" = None
    diffusion: "_Training | None" = None

    @property
    def in_all(self) -> int:
        """All updates."""
        parts = [one.in_all for one in (self.autoencoder, self.diffusion) if one]
        return self.updates + sum(parts)


class _Machine(BaseModel):
    """Where it was trained; no model of the zoo took a GPU."""

    cores: int


class _Card(BaseModel):
    """What a card says of a training; that of a control names no grid, but its prior's does."""

    kind: str
    name: str
    spec: _Spec | None = None
    training: _Training
    figures: Mapping[str, object]
    machine: _Machine

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        found = self.figures.items()
        return sum(float(str(value)) for name, value in found if name.endswith("seconds"))


@cache
def _known() -> dict[Rated, Cost]:
    """Return what one update cost by each card of the zoo; the card stands for the machine."""
    found = {}
    for entry in zoo_entries():
        card, prior = _card(entry), _card(Path(entry).parts[0])
        if prior.spec is not None:
            kind = f"{card.kind} {'' if card.spec else card.name}".rstrip()
            source = f"the card of {entry}, measured on {card.machine.cores} CPU cores"
            rated = Rated(f"{kind}, updates", source, math.prod(prior.spec.grid.shape))
            found[rated] = Cost(card.seconds / card.training.in_all)
    return found


def _card(entry: str) -> _Card:
    """Return the card of an entry."""
    return _Card.model_validate(read_json(zoo_folder(entry) / "card.json"))


def rate_of_cards(rated: Rated) -> tuple[Cost | None, str]:
    """Return what one item may cost, and by whose card; None and nothing: no card says so.

    The card of the grid that is nearest in size counts, and its seconds go with the voxels; that
    other networks and batches cost more or less is left aside.
    """
    alike = [one for one in _known() if one.kind == rated.kind]
    if not alike:
        return None, ""
    nearest = min(alike, key=lambda one: abs(math.log(one.voxels / rated.voxels)))
    return _known()[nearest].scaled(rated.voxels / nearest.voxels), f" by {nearest.device}"
