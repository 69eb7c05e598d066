"""The work folder of a recipe: who owns it, where things lie, what is done and what is stale.

What it is: paths, ownership, and `stage`, which runs something unless its inputs are unchanged.
In the flow: under every verb that is given a recipe.
Sources: none.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vcmaug.downstream.replicate import Replicate
from vcmaug.errors import WorkFolderError
from vcmaug.files import locked, read_json, write_json
from vcmaug.pipeline.recipe import Recipe
from vcmaug.provenance import fingerprint

__all__ = ["Replicate", "Work", "claim_work", "find_work", "stage"]


@dataclass(frozen=True)
class Work:
    """A work folder."""

    folder: Path
    recipe: Recipe

    @property
    def cases(self) -> Path:
        """Prepared cases."""
        return self.folder / "cases"

    @property
    def splits(self) -> Path:
        """Subject-level splits."""
        return self.folder / "splits.json"

    @property
    def prior(self) -> Path:
        """The prior."""
        return self.folder / "prior"

    @property
    def evaluator(self) -> Path:
        """The independent evaluator of adherence."""
        return self.folder / "evaluator"

    @property
    def study(self) -> Path:
        """The study."""
        return self.folder / "study"

    def replicate(self, num_labelled: int, seed: int) -> Replicate:
        """Return the replicate of (n, seed)."""
        folder = self.folder / "replicates" / f"n{num_labelled}-s{seed}"
        return Replicate(folder, num_labelled, seed)

    @property
    def replicates(self) -> list[Replicate]:
        """Return all replicates of the study, the smallest n first."""
        study = self.recipe.study
        return [self.replicate(n, seed) for n in study.num_labelled for seed in study.seeds]


def claim_work(folder: Path, recipe: Recipe, *, profile: str | None) -> Work:
    """Return the work folder of a recipe, marked as its own.

    Raises:
        WorkFolderError: The folder belongs to another recipe or profile, or holds other files.
    """
    path = folder / "recipe.json"
    mine = {"name": recipe.name, "profile": profile or ""}
    if path.exists():
        theirs = read_json(path)
        if {key: theirs.get(key) for key in mine} != mine:
            raise WorkFolderError(
                f"using work folder {folder}: it belongs to recipe {theirs.get('name')!r}, profile "
                f"{theirs.get('profile') or 'none'!r}; this is {recipe.name!r}, profile "
                f"{profile or 'none'!r}. Choose another --out."
            )
    elif folder.exists() and (foreign := _foreign(folder)):
        raise WorkFolderError(
            f"using work folder {folder}: it holds {foreign} and no recipe.json, so it is not "
            "vcmaug's. Choose an empty or new folder with --out."
        )
    write_json(path, {**mine, "title": recipe.title, "recipe": recipe.model_dump(mode="json")})
    return Work(folder, recipe)


def _foreign(folder: Path) -> str:
    """Return the name of something in a folder that is not prepared cases, or nothing."""
    names = sorted(entry.name for entry in folder.iterdir())
    return next((name for name in names if name not in {"cases", "splits.json"}), "")


def find_work(folder: Path) -> Work:
    """Return a work folder that is there.

    Raises:
        WorkFolderError: It is none.
    """
    path = folder / "recipe.json"
    if not path.exists():
        raise WorkFolderError(
            f"reading work folder {folder}: there is no recipe.json. Name the folder that "
            "`vcmaug run RECIPE --out FOLDER` made."
        )
    try:
        return Work(folder, Recipe.model_validate(read_json(path)["recipe"]))
    except ValidationError:
        raise WorkFolderError(
            f"reading work folder {folder}: an older version made it. Run `vcmaug run RECIPE "
            "--out FOLDER` again, in a new folder."
        ) from None


def stage(
    work: Work,
    name: str,
    *,
    inputs: Any,
    outputs: Path,
    action: Callable[[], None],
    again: bool = False,
) -> bool:
    """Run a stage unless it is done and its inputs are unchanged; return whether it ran.

    What an older recipe left in the stage's folder is moved to `.stale/`, not removed, and comes
    back when the recipe does.

    Args:
        work: The work folder.
        name: Of the stage, unique in the folder.
        inputs: JSON-like; all that decides the outputs.
        outputs: The stage's own folder.
        action: What to do; it resumes by itself what it left unfinished.
        again: Run it even if it is done.

    Raises:
        WorkFolderError: What would be moved aside is in use.
    """
    marker = work.folder / "stages" / f"{name}.json"
    identity = fingerprint(inputs, length=64)
    before = read_json(marker) if marker.exists() else {}
    unchanged = before.get("identity") == identity
    if unchanged and before.get("done") and outputs.exists() and not again:
        return False
    if before and not unchanged:
        stale = work.folder / ".stale"
        _set_aside(outputs, stale / f"{name}-{before['identity'][:12]}")
        _bring_back(outputs, stale / f"{name}-{identity[:12]}")
    write_json(marker, {"stage": name, "identity": identity, "done": False})
    action()
    write_json(marker, {"stage": name, "identity": identity, "done": True})
    return True


def _set_aside(outputs: Path, aside: Path) -> None:
    """Move what a stage left away, unless somebody works in its folder."""
    if not outputs.exists():
        return
    purpose = "setting aside what was made with other settings"
    with locked(outputs, purpose=purpose) if outputs.is_dir() else nullcontext():
        while aside.exists():
            aside = aside.with_name(f"{aside.name}-older")
        aside.parent.mkdir(parents=True, exist_ok=True)
        outputs.replace(aside)


def _bring_back(outputs: Path, aside: Path) -> None:
    """Move to a stage's folder what was set aside when its settings were these."""
    if aside.exists():
        outputs.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(outputs)
