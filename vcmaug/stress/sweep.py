"""The sweep: labelled heads that a segmenter has not seen, grown to volumes over a range.

It is a cohort like any other: images and label maps, with a manifest. One that a control drew will
do as well.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import Field, field_validator

from vcmaug.arms.base import Sources
from vcmaug.arms.deformed import Deformed
from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builder import Builder
from vcmaug.conditions.builders.grow import Grow, GrowSettings, range_of_volumes
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.config import Settings
from vcmaug.data.cases import Cases
from vcmaug.data.way_back import WayBack
from vcmaug.errors import CohortError, DataError, LeakError
from vcmaug.files import locked
from vcmaug.progress import Report, silent

__all__ = ["SweepSettings", "kinship", "labelled_heads", "make_sweep", "native_of", "refuse_seen"]


class SweepSettings(Settings):
    """What is swept, and by what flow; the flow is not the default one of cohorts."""

    structure: str
    range_ml: tuple[float, float]
    n: int = Field(64, ge=2, description="cases")
    seed: int = 0
    decay_mm: float = Field(25.0, gt=0)
    smoothness_mm: float = Field(8.0, ge=0)

    @field_validator("range_ml")
    @classmethod
    def _is_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        """Refuse volumes that are none."""
        return range_of_volumes(value)

    @property
    def builder(self) -> Grow:
        """What grows the heads."""
        swept = GrowSettings(structure=self.structure, even_ml=self.range_ml)
        return Grow(structures=(swept,), decay_mm=self.decay_mm, smoothness_mm=self.smoothness_mm)


def make_sweep(
    heads: Cases,
    settings: SweepSettings,
    *,
    out: Path,
    whole: Cases | None = None,
    compute: Compute | None = None,
    report: Report = silent,
) -> Cohort:
    """Return the sweep of some labelled heads; what is there of it is kept.

    Args:
        heads: Labelled cases that the segmenter's training did not hold.
        settings: What is swept.
        out: Gets conditions/ and sweep/.
        whole: The same cases on a larger grid, on which they are grown.
        compute: Where; None: in this process.
        report: Told as cases are made.

    Raises:
        DataError: There is no such structure, or no labelled head.
        ComputeError: A head cannot be grown to its volume.
    """
    folder, known = out / "conditions", heads.labelled()
    build_conditions(
        ConditionSettings(chains=(Chain(steps=(settings.builder,)),)),
        known.cases,
        folder=folder,
        scheme=heads.scheme,
        n=settings.n,
        seed=settings.seed,
        roles={},
        whole=whole.cases if whole is not None else (),
        compute=compute or Compute("in-process"),
        report=report,
    )
    sweep = out / "sweep"
    with locked(out, purpose="making a sweep"):
        is_there = CohortLayout(sweep).is_finished and CohortCard.read(sweep).n == settings.n
        if not is_there:
            sources = Sources(known.cases, heads.scheme, settings.n, folder, settings.seed)
            Deformed().make(sources, out=sweep, report=report)
    return Cohort.open(sweep)


def refuse_seen(sweep: Cohort, trained_on: Collection[str]) -> None:
    """Refuse a sweep of subjects that the segmenter has trained on.

    Args:
        sweep: Of the stress test.
        trained_on: Ids of the segmenter's training subjects.

    Raises:
        LeakError: One of them is a parent of the sweep.
    """
    parents = {name for row in sweep.rows for name in row.source_subject_ids}
    if seen := sorted(parents & set(trained_on)):
        raise LeakError(
            f"stress test: {', '.join(seen[:5])}{' and others' if len(seen) > 5 else ''} of the "
            f"sweep {sweep.folder} trained the segmenter. Sweep heads that it has not seen."
        )


def kinship(sweep: Cohort, cohort: Cohort | None) -> list[str]:
    """Return in sentences how the way of a sweep is that of a segmenter's own cohort.

    Args:
        sweep: Of the stress test.
        cohort: That the segmenter trained on; None: on no made case.

    Raises:
        CohortError: Both were made in the same way: what is learnt there is seen again here.
    """
    if cohort is None:
        return []
    mine, theirs = _ways(sweep), _ways(cohort)
    if same := sorted(mine & theirs):
        raise CohortError(
            f"stress test: sweep {sweep.folder} and cohort {cohort.folder} were made in one way "
            f"({' '.join(same[0])}), which flatters a segmenter that trained on the cohort. Sweep "
            "with another --decay-mm, or give a drawn cohort as --sweep."
        )
    if shared := sorted({builder for builder, _ in mine} & {builder for builder, _ in theirs}):
        return [
            f"The segmenter trained on cases that the same builder ({', '.join(shared)}) made with "
            "other constants: the curve flatters it."
        ]
    return []


def _ways(cohort: Cohort) -> set[tuple[str, str]]:
    """Return builder and constants of all steps of a cohort that changed sizes."""
    steps = [step for row in cohort.rows for step in row.parameters]
    told = [Builder.named(step.builder).constants(step.parameters) for step in steps]
    return {(step.builder, way) for step, way in zip(steps, told, strict=True) if way}


def native_of(sweep: Cohort, cases: Cases) -> dict[str, WayBack]:
    """Return the way of each case of a sweep to the native grid of the head that it began with.

    Raises:
        CohortError: A head is not among the prepared cases.
    """
    heads = {case.case_id: case for case in cases}
    hosts = {case.case_id: "".join(sweep.row_of(case).source_case_ids[:1]) for case in sweep}
    if lost := sorted({host for host in hosts.values() if host not in heads}):
        raise CohortError(
            f"stress test on native grids: head {lost[0]} of the sweep {sweep.folder} is not among "
            f"the {len(heads)} cases of {cases.folder}."
        )
    return {name: heads[host].back() for name, host in hosts.items()}


def labelled_heads(cases: Cases, trained_on: Sequence[str]) -> Cases:
    """Return the labelled cases that a segmenter has not seen.

    Raises:
        DataError: There is none.
    """
    seen = set(trained_on)
    found = cases.of(name for name in cases.subjects if name not in seen).labelled()
    if not found:
        raise DataError(
            f"stress test: all {len(cases)} cases of {cases.folder} trained the segmenter or have "
            "no label map; expected some labelled heads that it has not seen."
        )
    return found
