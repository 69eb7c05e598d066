"""The work folder of a recipe: whose it is, and the recipe that its artefacts are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from vcmaug.data.work_layout import FORMAT, Replicate, WorkLayout
from vcmaug.errors import WorkFolderError
from vcmaug.files import write_json
from vcmaug.outputs import refuse_overlap
from vcmaug.pipeline.recipe import Recipe

__all__ = ["Replicate", "Work", "check_work", "claim_work", "find_work"]


@dataclass(frozen=True)
class Work(WorkLayout):
    """A work folder and its recipe."""

    recipe: Recipe

    @property
    def replicates(self) -> list[Replicate]:
        """Return all replicates of the study, the smallest n first."""
        study = self.recipe.study
        return [self.replicate(n, seed) for n in study.num_labelled for seed in study.seeds]

    def changed(self, **sections: Mapping[str, object]) -> "Work":
        """Return the same folder with other settings in some sections of the recipe.

        Args:
            **sections: Section -> what changes in it; None leaves a setting as it is.
        """
        updates = {}
        for section, changes in sections.items():
            given = {name: value for name, value in changes.items() if value is not None}
            updates[section] = getattr(self.recipe, section).model_copy(update=given)
        return replace(self, recipe=self.recipe.model_copy(update=updates))

    def seeded(self, seed: int | None) -> "Work":
        """Return the same folder with another seed of the recipe; None: its own."""
        if seed is None:
            return self
        return replace(self, recipe=self.recipe.model_copy(update={"seed": seed}))


def claim_work(folder: Path, recipe: Recipe, *, profile: str | None) -> Work:
    """Return the work folder of a recipe, marked as its own.

    Raises:
        WorkFolderError: The folder belongs to another recipe or profile, or holds other files.
    """
    work = check_work(folder, recipe, profile=profile)
    mine = {"format": FORMAT, "name": recipe.name, "profile": profile or ""}
    about = {**mine, "title": recipe.title, "recipe": recipe.model_dump(mode="json")}
    write_json(work.recipe_file, about)
    return work


def check_work(folder: Path, recipe: Recipe, *, profile: str | None) -> Work:
    """Return the work folder of a recipe; nothing is written.

    Raises:
        WorkFolderError: The folder belongs to another recipe or profile, holds other files, or
            overlaps with what the recipe reads.
    """
    work = Work(folder, recipe)
    refuse_overlap(f"using work folder {folder}", writes=[folder], reads=recipe.sources)
    if work.recipe_file.exists():
        theirs = work.about()
        if (theirs.get("name"), theirs.get("profile")) != (recipe.name, profile or ""):
            raise WorkFolderError(
                f"using work folder {folder}: it belongs to recipe {theirs.get('name')!r}, profile "
                f"{theirs.get('profile') or 'none'!r}; this is {recipe.name!r}, profile "
                f"{profile or 'none'!r}. Choose another --out."
            )
    elif folder.exists() and (foreign := _foreign(work)):
        raise WorkFolderError(
            f"using work folder {folder}: it holds {foreign} and no recipe.json, so it is not "
            "vcmaug's. Choose an empty or new folder with --out."
        )
    return work


def _foreign(work: WorkLayout) -> str:
    """Return the name of something in a folder that is not prepared cases, or nothing."""
    names = sorted(entry.name for entry in work.folder.iterdir())
    return next((name for name in names if name not in {work.cases.name, work.splits.name}), "")


def find_work(folder: Path) -> Work:
    """Return a work folder that is there.

    Raises:
        WorkFolderError: It is none, or an older version made it.
    """
    layout = WorkLayout(folder)
    content = layout.about()
    try:
        return Work(folder, Recipe.model_validate(content["recipe"]))
    except ValidationError:
        raise layout.of_older_version() from None
