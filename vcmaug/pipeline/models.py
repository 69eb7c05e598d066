"""Models that a recipe brings: a prior, and a control to start from, of the zoo or in a folder.

What it is: whether they are there, and the way into the work folder and into memory.
In the flow: asked by the stages of a recipe; the first of them refuses what is missing.
Sources: none.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from vcmaug.conditions.chain import missing_files
from vcmaug.control.card import ControlCard
from vcmaug.errors import RecipeError, list_faults
from vcmaug.files import atomic_path
from vcmaug.ldm.card import PriorCard, read_card
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.pipeline.recipe import PriorRecipe, Recipe
from vcmaug.pipeline.work import Work
from vcmaug.zoo import zoo_entries

__all__ = ["bring_prior", "prior_under", "refuse_unfit"]


def refuse_unfit(work: Work) -> None:
    """Refuse a recipe that names files which a later stage would miss, or a prior of another grid.

    Raises:
        RecipeError: Names all of them.
        ModelError: The prior's card cannot be read.
    """
    missing = [*missing_files(work.recipe.conditions), *_missing_models(work)]
    if faults := missing or _other_grid(work.recipe):
        raise RecipeError(list_faults(f"running recipe {work.recipe.name!r}", faults))


def _missing_models(work: Work) -> list[str]:
    """Return, one sentence each, what a recipe brings that cannot be brought."""
    prior, control = work.recipe.prior.source, work.recipe.control.source
    faults = [] if prior is None else _missing(prior, kind="prior", named="prior.folder")
    if prior is not None and prior.resolve() == work.prior.resolve():
        faults.append(f"prior.folder: {prior} is in this recipe's own work folder; name another")
    if control is not None:
        known = f", and the zoo has {', '.join(zoo_entries())}"
        found = _missing(control, kind="control", named="control.start_from")
        faults += [fault + known for fault in found]
    return faults


def _other_grid(recipe: Recipe) -> list[str]:
    """Return, one sentence each, where the prior's grid is not the one that cases are brought to.

    A shape that differs would end a training; a spacing or orientation would pass unseen.
    """
    source, spec = recipe.prior.source, recipe.prior.spec
    if source is not None:
        theirs, named = read_card(source, PriorCard).spec.grid, f"of the prior in {source}"
    else:
        assert spec is not None  # the recipe has a prior that is there, or a spec
        theirs, named = spec.grid, "of prior.spec"
    mine = recipe.data.grid
    return [
        f"data.grid.{name} is {getattr(mine, name)}, that {named} {getattr(theirs, name)}; make "
        "them the same"
        for name in ("shape", "spacing_mm", "orientation")
        if getattr(mine, name) != getattr(theirs, name)
    ]


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
    """
    source = recipe.source
    assert source is not None  # a prior to train is not brought
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


def prior_under(control: Path | None, folder: Path) -> Prior:
    """Return a prior, with the latent scale of the control that another starts from.

    Args:
        control: Folder of that control; None: the prior as it is.
        folder: Of the prior.
    """
    prior = load_prior(folder)
    scale = None if control is None else read_card(control, ControlCard).latent_scale
    return prior if scale is None else replace(prior, latent_scale=scale)
