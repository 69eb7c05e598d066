"""What a work folder holds, read for the report; what is missing is said, never filled in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from pydantic import AliasPath, Field

from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.layout import CohortLayout
from vcmaug.config import JsonFile
from vcmaug.data.cases import Prepared
from vcmaug.data.seen import Seen
from vcmaug.data.splits import Splits, read_splits
from vcmaug.data.work_layout import Replicate, WorkLayout
from vcmaug.downstream.results import Cost, Summary, read_cost, read_summary
from vcmaug.quality.results import Quality

__all__ = ["Found", "ReplicateFound", "find"]

T = TypeVar("T")


class RecipeFacts(JsonFile):
    """Whose folder it is: recipe.json."""

    name: str
    title: str = ""
    profile: str = ""
    caveat: str = Field("", validation_alias=AliasPath("recipe", "caveat"))
    simulated: str = Field("", validation_alias=AliasPath("recipe", "simulated"))
    data_note: str = Field("", validation_alias=AliasPath("recipe", "data_note"))


class ModelFacts(JsonFile):
    """The card of a prior or a control."""

    name: str = ""
    num_parameters: int | Mapping[str, int] = 0
    weights_sha256: str
    seen: Seen = Seen()
    licence: str | None = None
    data: str | None = None
    started_from: str | None = None

    @property
    def total_parameters(self) -> int:
        """Of all its networks."""
        counts = self.num_parameters
        return counts if isinstance(counts, int) else sum(counts.values())


@dataclass(frozen=True)
class ReplicateFound:
    """What there is of one (n, seed); None where it is missing."""

    layout: Replicate
    control: ModelFacts | None
    conditions: pd.DataFrame | None
    manifest: pd.DataFrame | None
    cohort: CohortCard | None
    quality: Quality | None
    adherence: pd.DataFrame | None

    @property
    def name(self) -> str:
        """Such as n10-s0."""
        return self.layout.name


@dataclass(frozen=True)
class Found:
    """What there is in a work folder; None where it is missing."""

    layout: WorkLayout
    recipe: RecipeFacts
    cases: pd.DataFrame | None
    prepared: Prepared | None
    splits: Splits | None
    prior: ModelFacts | None
    replicates: tuple[ReplicateFound, ...]
    summary: Summary | None
    cost: Cost | None
    scores: pd.DataFrame | None


def find(work: Path) -> Found:
    """Return everything a report can use of a work folder.

    Raises:
        WorkFolderError: It is no work folder, or one of an older version.
    """
    layout = WorkLayout(work)
    return Found(
        layout=layout,
        recipe=RecipeFacts.model_validate(layout.about()),
        cases=_if_there(_read_cases, layout.cases_csv),
        prepared=_if_there(Prepared.read, layout.prepared),
        splits=_if_there(read_splits, layout.splits),
        prior=_if_there(ModelFacts.read, layout.prior_card),
        replicates=tuple(map(_replicate, layout.replicates_there)),
        summary=_if_there(read_summary, layout.summary),
        cost=_if_there(read_cost, layout.study / "cost.json"),
        scores=_if_there(pd.read_parquet, layout.scores),
    )


def _replicate(replicate: Replicate) -> ReplicateFound:
    """Return what there is of a replicate."""
    cohort = CohortLayout(replicate.cohort)
    return ReplicateFound(
        layout=replicate,
        control=_if_there(ModelFacts.read, replicate.control_card),
        conditions=_if_there(pd.read_parquet, replicate.conditions_table),
        manifest=_if_there(pd.read_parquet, cohort.manifest),
        cohort=CohortCard.read(cohort.folder) if cohort.card.exists() else None,
        quality=_if_there(Quality.read, replicate.quality_file),
        adherence=_if_there(pd.read_parquet, replicate.adherence_file),
    )


def _read_cases(path: Path) -> pd.DataFrame:
    """Return the table of cases that people read, with ids as they are written."""
    return pd.read_csv(path, converters={"case_id": str, "subject_id": str})


def _if_there(read: Callable[[Path], T], path: Path) -> T | None:
    """Return what is in a file; None where there is none."""
    return read(path) if path.exists() else None
