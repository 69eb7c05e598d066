"""The sweep: labelled heads that a segmenter has not seen, grown to volumes over a range.

It is a cohort like any other: images and label maps, with a manifest. One that a control drew will
do as well.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import Field

from vcmaug.arms.base import Sources
from vcmaug.arms.deformed import Deformed
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builders.grow import Grow, GrowDraw, GrowSettings
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.config import Settings
from vcmaug.data.cases import Cases
from vcmaug.errors import CohortError, DataError, LeakError
from vcmaug.files import locked
from vcmaug.progress import Report, silent

__all__ = ["SweepSettings", "kinship", "labelled_heads", "make_sweep", "refuse_seen"]


class SweepSettings(Settings):
    """What is swept, and by what flow; the flow is not the default one of cohorts."""

    structure: str
    range_ml: tuple[float, float]
    n: int = Field(64, ge=2, description="cases")
    seed: int = 0
    decay_mm: float = Field(25.0, gt=0)
    smoothness_mm: float = Field(8.0, ge=0)

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
        if not CohortLayout(sweep).is_finished:
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
        CohortError: Both were grown by the same flow: what is learnt there is seen again here.
    """
    if cohort is None:
        return []
    mine, theirs = _flows(sweep), _flows(cohort)
    if same := mine & theirs:
        raise CohortError(
            f"stress test: sweep {sweep.folder} and cohort {cohort.folder} were grown by one flow "
            f"(decay_mm {min(same):g}), which flatters a segmenter that trained on the cohort. "
            "Sweep with another --decay-mm, or give a drawn cohort as --sweep."
        )
    if mine and theirs:
        return [
            "The segmenter trained on cases that the same builder grew with other constants: the "
            "curve flatters it."
        ]
    return []


def _flows(cohort: Cohort) -> set[float]:
    """Return the decay of all flows of a cohort, mm; smoothness differs from try to try."""
    steps = [step for row in cohort.rows for step in row.parameters if step.builder == "grow"]
    return {GrowDraw.model_validate(step.parameters).decay_mm for step in steps}


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
