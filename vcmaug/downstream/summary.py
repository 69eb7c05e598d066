"""From scores to means, paired differences and the share of the label gap closed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.downstream.results import Difference, GapClosed, Mean, RunResult, Summary
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.statistics import bootstrap_mean, paired_bootstrap, share_of_gap
from vcmaug.downstream.training_data import TrainingData
from vcmaug.provenance import machine, versions
from vcmaug.seeding import numpy_generator

__all__ = ["summarised"]

Tables = Mapping[str, NDArray[np.float64]]  # by arm [seeds, subjects]

_MANY_SEEDS = 5


def summarised(
    scores: pd.DataFrame,
    runs: Sequence[RunResult],
    *,
    settings: StudySettings,
    arms: Mapping[str, TrainingData],
    structures: tuple[str, ...],
    num_test_subjects: int,
) -> Summary:
    """Return means and paired differences with intervals, and what the study cost.

    Args:
        scores: Rows with arm, num_labelled, seed, subject_id and the scores of the task.
        runs: All trainings.
        settings: Of the study; a ceiling has an n of its own and stands beside each of the grid.
        arms: What each arm is, by its name.
        structures: Of the scheme.
        num_test_subjects: How many were scored.
    """
    means: list[Mean] = []
    differences: list[Difference] = []
    gap_closed: list[GapClosed] = []
    is_ceiling = scores.arm.isin([name for name, data in arms.items() if data.is_ceiling])
    for metric in (score.name for score in settings.task.scores if score.name in scores):
        ceilings = _tables(scores[is_ceiling], metric)
        for n in settings.num_labelled:
            place = _Place(metric, n, arms, settings.bootstrap_draws)
            tables = _tables(scores[~is_ceiling & (scores.num_labelled == n)], metric)
            means += place.means(tables)
            differences += place.differences({**tables, **ceilings})
            gap_closed += place.gap_closed({**tables, **ceilings})
        for n in scores[is_ceiling].num_labelled.unique():
            means += _Place(metric, int(n), arms, settings.bootstrap_draws).means(ceilings)
    seconds = sum(run.cost.seconds for run in runs)
    augmentation = sum(run.cost.augmentation_seconds for run in runs)
    return Summary(
        means=tuple(means),
        differences=tuple(differences),
        gap_closed=tuple(gap_closed),
        task=settings.task.name,
        scores=settings.task.scores,
        structures=structures,
        scored_on=settings.scored_on,
        num_test_subjects=num_test_subjects,
        updates=settings.fit.updates,
        num_labelled=settings.num_labelled,
        seeds=settings.seeds,
        runs=tuple(run.facts for run in runs),
        seconds=seconds,
        augmentation_share=augmentation / seconds if seconds else 0.0,
        empty_rule=settings.task.empty_rule,
        seeds_resampled=len(settings.seeds) > 1,
        interval="95 % percentile bootstrap over subjects"
        + (" and seeds" if len(settings.seeds) > 1 else "; one seed, so none over seeds")
        + ("; few seeds, so rather too narrow" if len(settings.seeds) < _MANY_SEEDS else ""),
        versions=versions(),
        machine=machine(),
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
    num_draws: int

    def _generator(self, what: str, arm: str) -> np.random.Generator:
        """Return the generator of the draws for one figure of an arm."""
        return numpy_generator(what, self.metric, arm, self.n)

    def means(self, tables: Tables) -> Iterator[Mean]:
        """Yield the mean of every arm."""
        for arm, table in tables.items():
            generator = self._generator("mean", arm)
            estimate = bootstrap_mean(table, num_draws=self.num_draws, generator=generator)
            yield Mean(metric=self.metric, arm=arm, num_labelled=self.n, **vars(estimate))

    def differences(self, tables: Tables) -> Iterator[Difference]:
        """Yield every arm against each baseline; baselines without help come first."""
        baselines = [name for name, data in self.arms.items() if data.is_baseline]
        baselines.sort(key=lambda name: not self.arms[name].is_floor)
        for place, baseline in enumerate(baselines):
            others = [arm for arm in tables if arm not in baselines[: place + 1]]
            for arm in others if baseline in tables else []:
                estimate = paired_bootstrap(
                    tables[baseline],
                    tables[arm],
                    num_draws=self.num_draws,
                    generator=self._generator("difference", arm),
                )
                yield Difference(
                    metric=self.metric,
                    arm=arm,
                    num_labelled=self.n,
                    against=baseline,
                    **vars(estimate),
                )

    def gap_closed(self, tables: Tables) -> Iterator[GapClosed]:
        """Yield every arm's share of the gap between floor and ceiling."""
        floor = next((arm for arm in tables if self.arms[arm].is_floor), None)
        ceiling = next((arm for arm in tables if self.arms[arm].is_ceiling), None)
        if floor is None or ceiling is None:
            return
        for arm in (name for name in tables if name not in (floor, ceiling)):
            share = share_of_gap(
                tables[floor],
                tables[arm],
                tables[ceiling],
                num_draws=self.num_draws,
                generator=self._generator("gap", arm),
            )
            yield GapClosed(metric=self.metric, arm=arm, num_labelled=self.n, **vars(share))
