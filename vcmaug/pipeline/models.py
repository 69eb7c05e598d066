"""Models that a recipe brings: a prior, and a control to start from, of the zoo or in a folder."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vcmaug.data.geometry import Grid
from vcmaug.data.scalars import ScalarSpec
from vcmaug.errors import ModelError
from vcmaug.files import atomic_path
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.pipeline.recipe import PriorRecipe, Recipe
from vcmaug.pipeline.work import Work
from vcmaug.zoo import zoo_entries

if TYPE_CHECKING:
    from vcmaug.ldm.prior import Prior

__all__ = [
    "bring_prior",
    "missing_control",
    "missing_prior",
    "other_grid",
    "prior_under",
    "scalars_of_prior",
]


def missing_prior(work: Work) -> list[str]:
    """Return, one sentence each, what of a prior that is brought is not there."""
    prior = work.recipe.prior.source
    faults = [] if prior is None else _missing(prior, kind="prior", named="prior.folder")
    if prior is not None and prior.resolve() == work.prior.resolve():
        faults.append(f"prior.folder: {prior} is in this recipe's own work folder; name another")
    return faults


def missing_control(work: Work) -> list[str]:
    """Return, one sentence each, what of a control to start from is not there."""
    control = work.recipe.control.source
    if control is None:
        return []
    known = f", and the zoo has {', '.join(zoo_entries())}"
    found = _missing(control, kind="control", named="control.start_from")
    return [fault + known for fault in found]


def other_grid(recipe: Recipe) -> list[str]:
    """Return, one sentence each, where the prior's grid is not the one that cases are brought to.

    A shape that differs would end a training; a spacing or orientation would pass unseen.
    """
    found = _grid_of_prior(recipe.prior)
    if found is None:
        return []
    theirs, named = found
    mine = recipe.data.grid
    return [
        f"data.grid.{name} is {getattr(mine, name)}, that {named} {getattr(theirs, name)}; make "
        "them the same"
        for name in ("shape", "spacing_mm", "orientation")
        if getattr(mine, name) != getattr(theirs, name)
    ]


def _grid_of_prior(recipe: PriorRecipe) -> tuple[Grid, str] | None:
    """Return the grid of a prior and where it is said; None: its card is not there."""
    if recipe.source is None:
        return recipe.spec_to_train.grid, "of prior.spec"
    if not (recipe.source / "card.json").exists():
        return None
    return read_card(recipe.source, PriorCard).spec.grid, f"of the prior in {recipe.source}"


def scalars_of_prior(work: Work) -> tuple[ScalarSpec, ...]:
    """Return the scalars of a recipe's prior; none where its card is not there."""
    recipe = work.recipe.prior
    if recipe.source is None:
        return recipe.spec_to_train.scalars
    if not (recipe.source / "card.json").exists():
        return ()
    return read_card(recipe.source, PriorCard).spec.scalars


def _missing(folder: Path, *, kind: str, named: str) -> list[str]:
    """Return what a finished prior or control lacks."""
    paths = [folder / f"{kind}.safetensors", folder / "card.json"]
    return [f"{named}: there is no {path}" for path in paths if not path.exists()]


def bring_prior(recipe: PriorRecipe, target: Path) -> None:
    """Put the weights and then the card of a finished prior into a folder.

    Weights of gigabytes are linked where the file system can, since no file of a prior is ever
    written in place; the card is copied, and its hash tells whether the weights are still the same.

    Args:
        recipe: Names the prior.
        target: Folder that gets it.

    Raises:
        ModelError: The recipe trains its own.
    """
    source = recipe.source
    if source is None:
        raise ModelError("bringing a prior: the recipe trains its own.")
    with atomic_path(target / "prior.safetensors") as temporary:
        _link_or_copy(source / "prior.safetensors", temporary, link=recipe.folder is not None)
    with atomic_path(target / "card.json") as temporary:
        shutil.copyfile(source / "card.json", temporary)


def _link_or_copy(source: Path, target: Path, *, link: bool) -> None:
    """Give a file a second name, or copy it, as across file systems."""
    if link:
        try:
            target.hardlink_to(source.resolve())
            return
        except OSError:
            pass
    shutil.copyfile(source, target)


def prior_under(control: Path | None, folder: Path) -> "Prior":
    """Return a prior, with the latent scale of the control that another starts from.

    Args:
        control: Folder of that control; None: the prior as it is.
        folder: Of the prior.
    """
    from vcmaug.control.card import ControlCard
    from vcmaug.ldm.prior import load_prior

    prior = load_prior(folder)
    scale = None if control is None else read_card(control, ControlCard).latent_scale
    return prior if scale is None else replace(prior, latent_scale=scale)
