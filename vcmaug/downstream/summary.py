"""From scores to means, paired differences and the share of the label gap closed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.downstream.results import (
    Difference,
    GapClosed,
    Mean,
    PriorLabels,
    RunResult,
    Summary,
)
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.statistics import mean_of, paired_difference, share_of_gap
from vcmaug.downstream.training_data import TrainingData
from vcmaug.provenance import versions

__all__ = ["summarised"]

Tables = Mapping[str, NDArray[np.float64]]  # by arm [seeds, subjects]

_FEWEST_FOR_P = 6  # subjects of which a signed-rank test can go below 0.05


def summarised(
    scores: pd.DataFrame,
    runs: Sequence[RunResult],
    *,
    settings: StudySettings,
    arms: Mapping[str, TrainingData],
    structures: tuple[str, ...],
    num_replicates: int,
    prior_labels: Sequence[PriorLabels] = (),
    notes: Sequence[str] = (),
) -> Summary:
    """Return means and paired differences with intervals, of all subjects and of each group.

    Args:
        scores: Rows with arm, num_labelled, seed, subject_id, the scores of the task, and `group`
            where subjects are in groups.
        runs: All trainings.
        settings: Of the study; a ceiling has an n of its own and stands beside each of the grid.
        arms: What each arm is, by its name.
        structures: Of the scheme.
        num_replicates: Of labelled cases, control and cohort.
        prior_labels: Of each arm whose prior reads scalars that are measured on label maps.
        notes: What else must be known, a sentence each.
    """
    if settings.endpoints and "structure" in scores:
        structures = settings.endpoints
        scores = scores[scores.structure.isin(structures)]
    whole = partial(
        _summary,
        runs=runs,
        settings=settings,
        arms=arms,
        structures=structures,
        num_replicates=num_replicates,
        prior_labels=prior_labels,
        notes=notes,
    )
    apart = scores.groupby("group") if "group" in scores else ()
    return whole(scores, groups={str(name): whole(rows, runs=()) for name, rows in apart})


def _summary(
    scores: pd.DataFrame,
    *,
    runs: Sequence[RunResult],
    settings: StudySettings,
    arms: Mapping[str, TrainingData],
    structures: tuple[str, ...],
    num_replicates: int,
    prior_labels: Sequence[PriorLabels],
    notes: Sequence[str],
    groups: Mapping[str, Summary] | None = None,
) -> Summary:
    """Return means and paired differences of some subjects; see `summarised`."""
    num_subjects = int(scores.subject_id.nunique())
    means: list[Mean] = []
    differences: list[Difference] = []
    gap_closed: list[GapClosed] = []
    is_ceiling = scores.arm.isin([name for name, data in arms.items() if data.is_ceiling])
    for metric in (score.name for score in settings.task.scores if score.name in scores):
        ceilings = _tables(scores[is_ceiling], metric)
        for n in settings.num_labelled:
            place = _Place(metric, n, arms)
            tables = _tables(scores[~is_ceiling & (scores.num_labelled == n)], metric)
            means += place.means(tables)
            differences += place.differences({**tables, **ceilings})
            gap_closed += place.gap_closed({**tables, **ceilings})
        for n in scores[is_ceiling].num_labelled.unique():
            means += _Place(metric, int(n), arms).means(ceilings)
    return Summary(
        means=tuple(means),
        differences=tuple(differences),
        gap_closed=tuple(gap_closed),
        task=settings.task.name,
        scores=settings.task.scores,
        structures=structures,
        scored_on=settings.scored_on,
        num_test_subjects=num_subjects,
        updates=settings.fit.updates,
        num_labelled=settings.num_labelled,
        seeds=settings.seeds,
        num_replicates=num_replicates,
        noise_arm=next((name for name, data in arms.items() if data.has_other_batches), None),
        threads=settings.fit.threads,
        runs=tuple(run.facts for run in runs),
        empty_rule=settings.task.empty_rule,
        interval="95 % interval of Student's t over subjects"
        + (" and seeds" if len(settings.seeds) > 1 else "; one seed, so nothing of other seeds"),
        prior_labels=tuple(prior_labels),
        notes=(*_notes(settings, num_subjects), *map(str, prior_labels), *notes),
        groups=groups or {},
        versions=versions(),
    )


def _notes(settings: StudySettings, num_subjects: int) -> Iterator[str]:
    """Yield what must be known to read the figures."""
    threads = settings.fit.threads
    if threads is None:
        yield (
            "Each training on a CPU had all threads of its process; rounding differs with their "
            "number, and with it the scores. Set study.fit.threads for scores that do not."
        )
    else:
        yield f"Each training on a CPU had {threads} thread{'s' if threads > 1 else ''}."
    if num_subjects < _FEWEST_FOR_P:
        yield (
            f"{num_subjects} subjects are too few for a p value: a signed-rank test of so many "
            f"pairs cannot go below {2 / 2**num_subjects:.2g}."
        )


def _tables(scores: pd.DataFrame, metric: str) -> Tables:
    """Return scores [seeds, subjects] per arm: means over structures and a subject's cases."""
    tables = {}
    for arm in scores.arm.unique():
        rows = scores[scores.arm == arm]
        table = rows.pivot_table(index="seed", columns="subject_id", values=metric, aggfunc="mean")
        tables[str(arm)] = np.asarray(table.to_numpy(), dtype=np.float64)
    return tables


@dataclass(frozen=True)
class _Place:
    """One score at one n."""

    metric: str
    n: int
    arms: Mapping[str, TrainingData]

    def means(self, tables: Tables) -> Iterator[Mean]:
        """Yield the mean of every arm."""
        for arm, table in tables.items():
            estimate = vars(mean_of(table))
            yield Mean(metric=self.metric, arm=arm, num_labelled=self.n, **estimate)

    def differences(self, tables: Tables) -> Iterator[Difference]:
        """Yield every arm against each baseline; baselines without help come first."""
        baselines = [name for name, data in self.arms.items() if data.is_baseline]
        baselines.sort(key=lambda name: not self.arms[name].is_floor)
        for place, baseline in enumerate(baselines):
            others = [
                arm
                for arm in tables
                if arm not in baselines[: place + 1]
                and not (place and self.arms[arm].has_other_batches)  # noise of the floor alone
            ]
            for arm in others if baseline in tables else []:
                yield Difference(
                    metric=self.metric,
                    arm=arm,
                    num_labelled=self.n,
                    against=baseline,
                    **vars(paired_difference(tables[baseline], tables[arm])),
                )

    def gap_closed(self, tables: Tables) -> Iterator[GapClosed]:
        """Yield every arm's share of the gap between floor and ceiling."""
        floor = next((arm for arm in tables if self.arms[arm].is_floor), None)
        ceiling = next((arm for arm in tables if self.arms[arm].is_ceiling), None)
        if floor is None or ceiling is None:
            return
        helped = (name for name in tables if name not in (floor, ceiling))
        for arm in (name for name in helped if not self.arms[name].has_other_batches):
            share = share_of_gap(tables[floor], tables[arm], tables[ceiling])
            yield GapClosed(metric=self.metric, arm=arm, num_labelled=self.n, **vars(share))
