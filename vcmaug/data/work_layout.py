"""The layout of a work folder: where everything that a recipe makes lies, known here alone.

The pipeline writes by it, and the report reads by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcmaug.errors import WorkFolderError
from vcmaug.files import read_json

__all__ = ["FORMAT", "Replicate", "WorkLayout", "run_file"]

FORMAT = 2
"""Of work folders; it stands in their recipe.json."""

_POOL = "pool"


@dataclass(frozen=True)
class Replicate:
    """One (n, seed) of a study: its own control, conditions and cohort.

    With `pool`, its control and conditions use the pseudo-labelled unlabelled set too.
    """

    folder: Path
    num_labelled: int
    seed: int
    pool: bool = False

    @property
    def name(self) -> str:
        """Such as n10-s0 or n10-s0-pool."""
        return f"{self.folder.parent.name}-{_POOL}" if self.pool else self.folder.name

    @property
    def with_pool(self) -> "Replicate":
        """The same (n, seed) with the unlabelled set."""
        return self if self.pool else replace(self, folder=self.folder / _POOL, pool=True)

    @property
    def without_pool(self) -> "Replicate":
        """The same (n, seed) without the unlabelled set."""
        return replace(self, folder=self.folder.parent, pool=False) if self.pool else self

    @property
    def control(self) -> Path:
        """Folder of its control."""
        return self.folder / "control"

    @property
    def conditions(self) -> Path:
        """Folder of its conditions."""
        return self.folder / "conditions"

    @property
    def cohort(self) -> Path:
        """Folder of its cohort."""
        return self.folder / "cohort"

    @property
    def control_card(self) -> Path:
        """What its control is."""
        return self.control / "card.json"

    @property
    def conditions_table(self) -> Path:
        """Its conditions, a table."""
        return self.conditions / "conditions.parquet"

    @property
    def acceptance(self) -> Path:
        """Folder of the segmenter that checks drawn images."""
        return self.without_pool.folder / "acceptance"

    @property
    def pseudo(self) -> Path:
        """Folder of the unlabelled set with pseudo-labels, a cohort of its own (self-training)."""
        return self.without_pool.folder / "pseudo"

    @property
    def quality(self) -> Path:
        """Folder of its cohort's evaluation."""
        return self.folder / "quality"

    @property
    def quality_file(self) -> Path:
        """The figures of that evaluation."""
        return self.quality / "quality.json"

    @property
    def adherence_file(self) -> Path:
        """The adherence of each case, a table."""
        return self.quality / "adherence.parquet"


def run_file(study: Path, arm: str, *, num_labelled: int, seed: int) -> Path:
    """Return the file of the result of one training of a study.

    Args:
        study: Folder of the study.
        arm: Its name.
        num_labelled: The n; of a ceiling, the number of training subjects.
        seed: Of the replicate.
    """
    return study / "runs" / f"{arm.replace('+', '-')}-n{num_labelled}-s{seed}.json"


@dataclass(frozen=True)
class WorkLayout:
    """The paths of a work folder."""

    folder: Path

    @property
    def recipe_file(self) -> Path:
        """Whose folder it is: name, profile, and the recipe as it was resolved."""
        return self.folder / "recipe.json"

    @property
    def cases(self) -> Path:
        """Prepared cases."""
        return self.folder / "cases"

    @property
    def cases_csv(self) -> Path:
        """The table of prepared cases that people read."""
        return self.cases / "cases.csv"

    @property
    def prepared(self) -> Path:
        """What prepared cases are: scheme, grid, settings."""
        return self.cases / "prepare.json"

    @property
    def population(self) -> Path:
        """The embedded population, where a recipe asks for it."""
        return self.folder / "population"

    @property
    def splits(self) -> Path:
        """Subject-level splits."""
        return self.folder / "splits.json"

    @property
    def prior(self) -> Path:
        """The prior."""
        return self.folder / "prior"

    @property
    def prior_card(self) -> Path:
        """What the prior is."""
        return self.prior / "card.json"

    @property
    def evaluator(self) -> Path:
        """The independent evaluator of adherence."""
        return self.folder / "evaluator"

    @property
    def study(self) -> Path:
        """The study."""
        return self.folder / "study"

    @property
    def summary(self) -> Path:
        """Means and differences of the study."""
        return self.study / "summary.json"

    @property
    def scores(self) -> Path:
        """The scores of every test case, a table."""
        return self.study / "scores.parquet"

    @property
    def gates(self) -> Path:
        """What each gate measured."""
        return self.folder / "gates"

    @property
    def gates_file(self) -> Path:
        """All gates in one file."""
        return self.folder / "gates.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.folder / "report.html"

    @property
    def stages(self) -> Path:
        """What each artefact was made from, and what it cost."""
        return self.folder / "stages"

    @property
    def stale(self) -> Path:
        """What was made from other settings and set aside."""
        return self.folder / ".stale"

    def about(self) -> Mapping[str, Any]:
        """Return what recipe.json says of the folder.

        Raises:
            WorkFolderError: There is no such file, or an older version made the folder.
        """
        if not self.recipe_file.exists():
            raise WorkFolderError(
                f"reading work folder {self.folder}: there is no recipe.json. Name the folder that "
                "`vcmaug run RECIPE --out FOLDER` made."
            )
        content: Mapping[str, Any] = read_json(self.recipe_file)
        if content.get("format") != FORMAT:
            raise self.of_older_version()
        return content

    def of_older_version(self) -> WorkFolderError:
        """Return what is said of a folder that an older version made."""
        return WorkFolderError(
            f"reading work folder {self.folder}: an older version made it. Run `vcmaug run RECIPE "
            "--out FOLDER` again, in a new folder."
        )

    def replicate(self, num_labelled: int, seed: int) -> Replicate:
        """Return the replicate of (n, seed)."""
        folder = self.folder / "replicates" / f"n{num_labelled}-s{seed}"
        return Replicate(folder, num_labelled, seed)

    def replicate_named(self, name: str) -> Replicate | None:
        """Return the replicate of a name such as n10-s0 or n10-s0-pool; None: it is no such name.

        Examples:
            >>> WorkLayout(Path("work")).replicate_named("n10-s0-pool").folder.as_posix()
            'work/replicates/n10-s0/pool'
        """
        own = name.removesuffix(f"-{_POOL}")
        num_labelled, _, seed = own.removeprefix("n").partition("-s")
        if not (num_labelled.isdigit() and seed.isdigit()):
            return None
        replicate = self.replicate(int(num_labelled), int(seed))
        replicate = replicate if own == name else replicate.with_pool
        return replicate if replicate.name == name else None

    def replicate_at(self, folder: Path) -> Replicate | None:
        """Return the replicate that a folder, such as that of a cohort, belongs to; None: none."""
        inside = folder.resolve()
        named = (self.replicate_named(path.name) for path in (inside, *inside.parents))
        found = next((one for one in named if one is not None), None)
        if found is None or not inside.is_relative_to(found.folder.resolve()):
            return None
        pool = found.with_pool
        return pool if inside.is_relative_to(pool.folder.resolve()) else found

    @property
    def replicates_there(self) -> list[Replicate]:
        """All replicates whose folder is there, the smallest n first."""
        folders = (self.folder / "replicates").glob("*")
        found = [one for path in folders if (one := self.replicate_named(path.name)) is not None]
        return sorted(found, key=lambda one: (one.num_labelled, one.seed))
