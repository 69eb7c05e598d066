"""The layout of a work folder: where everything that a recipe makes lies, known here alone.

The pipeline writes by it, and the report reads by it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcmaug.errors import WorkFolderError
from vcmaug.files import Inside, read_json

__all__ = ["FORMAT", "Replicate", "WorkLayout", "run_file"]

FORMAT = 2
"""Of work folders; it stands in their recipe.json."""

_POOL = "pool"


@dataclass(frozen=True)
class Replicate:
    """One (n, seed) of a study: its own control, conditions and cohort.

    With `pool`, its control and conditions use the pseudo-labelled unlabelled set too.

    Attributes:
        folder: Its own.
        num_labelled: The n.
        seed: The seed.
        pool: Whether the unlabelled set is used.
        control: Folder of its control.
        control_card: What its control is.
        conditions: Folder of its conditions.
        conditions_table: Its conditions, a table.
        cohort: Folder of its cohort.
        quality: Folder of its cohort's evaluation.
        quality_file: The figures of that evaluation.
        adherence_file: The adherence of each case, a table.
    """

    folder: Path
    num_labelled: int
    seed: int
    pool: bool = False

    control = Inside("control")
    control_card = Inside("control", "card.json")
    conditions = Inside("conditions")
    conditions_table = Inside("conditions", "conditions.parquet")
    cohort = Inside("cohort")
    quality = Inside("quality")
    quality_file = Inside("quality", "quality.json")
    adherence_file = Inside("quality", "adherence.parquet")

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
    def acceptance(self) -> Path:
        """Folder of the segmenter that checks drawn images."""
        return self.without_pool.folder / "acceptance"

    @property
    def pseudo(self) -> Path:
        """Folder of the unlabelled set with pseudo-labels, a cohort of its own (self-training)."""
        return self.without_pool.folder / "pseudo"


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
    """The paths of a work folder.

    Attributes:
        folder: The work folder.
        recipe_file: Whose folder it is: name, profile, and the recipe as it was resolved.
        cases: Prepared cases.
        cases_csv: The table of prepared cases that people read.
        prepared: What prepared cases are: scheme, grid, settings.
        population: The embedded population, where a recipe asks for it.
        splits: Subject-level splits.
        prior: The prior.
        prior_card: What the prior is.
        evaluator: The independent evaluator of adherence.
        study: The study.
        summary: Means and differences of the study.
        scores: The scores of every test case, a table.
        gates: What each gate measured.
        gates_file: All gates in one file.
        report: The report.
        stages: What each artefact was made from, and what it cost.
        stale: What was made from other settings and set aside.
    """

    folder: Path

    recipe_file = Inside("recipe.json")
    cases = Inside("cases")
    cases_csv = Inside("cases", "cases.csv")
    prepared = Inside("cases", "prepare.json")
    population = Inside("population")
    splits = Inside("splits.json")
    prior = Inside("prior")
    prior_card = Inside("prior", "card.json")
    evaluator = Inside("evaluator")
    study = Inside("study")
    summary = Inside("study", "summary.json")
    scores = Inside("study", "scores.parquet")
    gates = Inside("gates")
    gates_file = Inside("gates.json")
    report = Inside("report.html")
    stages = Inside("stages")
    stale = Inside(".stale")

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
        match = re.fullmatch(rf"n(0|[1-9]\d*)-s(0|[1-9]\d*)(-{_POOL})?", name)
        if match is None:
            return None
        own = self.replicate(int(match[1]), int(match[2]))
        return own.with_pool if match[3] else own

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
