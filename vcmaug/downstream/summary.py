"""From scores to means, paired differences and the share of the label gap closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.downstream.results import Difference, GapClosed, Mean
from vcmaug.downstream.statistics import bootstrap_mean, paired_bootstrap, share_of_gap
from vcmaug.downstream.training_data import TrainingData
from vcmaug.seeding import numpy_generator

__all__ = ["Compared", "compared"]

Scores = NDArray[np.float64]  # [seeds, subjects]


@dataclass(frozen=True)
class Compared:
    """Figures of all arms, by score, n and arm."""

    means: list[Mean] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    gap_closed: list[GapClosed] = field(default_factory=list)


def compared(
    scores: pd.DataFrame,
    arms: Mapping[str, TrainingData],
    *,
    figures: Sequence[str],
    num_labelled: Sequence[int],
    num_draws: int,
) -> Compared:
    """Return means, differences and shares of the label gap, one per figure, n and arm.

    Args:
        scores: Rows with arm, num_labelled, seed, subject_id and the figures.
        arms: What each arm is, by its name.
        figures: Columns that are compared, where the scores have them.
        num_labelled: The n of the grid; a ceiling has one of its own and stands beside each.
        num_draws: Bootstrap draws.
    """
    found = Compared()
    roles = _Roles.of(arms)
    is_ceiling = scores.arm.isin(roles.ceilings)
    ceiling = scores[is_ceiling]
    for metric in (name for name in figures if name in scores):
        for n in num_labelled:
            at_n = scores[(scores.num_labelled == n) & ~is_ceiling]
            tables = _tables(at_n, metric)
            _add_means(found, tables, metric=metric, n=n, num_draws=num_draws)
            tables |= _tables(ceiling, metric)
            _add_differences(found, tables, roles, metric=metric, n=n, num_draws=num_draws)
            _add_shares(found, tables, roles, metric=metric, n=n, num_draws=num_draws)
        for n in ceiling.num_labelled.unique():
            _add_means(
                found, _tables(ceiling, metric), metric=metric, n=int(n), num_draws=num_draws
            )
    return found


@dataclass(frozen=True)
class _Roles:
    """Names of the arms that others are held against."""

    baselines: tuple[str, ...]
    floors: tuple[str, ...]
    ceilings: tuple[str, ...]

    @classmethod
    def of(cls, arms: Mapping[str, TrainingData]) -> "_Roles":
        """Return the roles of arms; baselines without help come first."""
        baselines = [name for name, data in arms.items() if data.is_baseline]
        return cls(
            baselines=tuple(sorted(baselines, key=lambda name: not arms[name].is_floor)),
            floors=tuple(name for name in baselines if arms[name].is_floor),
            ceilings=tuple(name for name, data in arms.items() if data.is_ceiling),
        )


def _tables(scores: pd.DataFrame, metric: str) -> dict[str, Scores]:
    """Return scores [seeds, subjects] per arm: means over structures and a subject's cases."""
    tables = {}
    for arm in scores.arm.unique():
        rows = scores[scores.arm == arm]
        table = rows.pivot_table(index="seed", columns="subject_id", values=metric, aggfunc="mean")
        tables[str(arm)] = np.asarray(table.to_numpy(), dtype=np.float64)
    return tables


def _add_means(
    found: Compared,
    tables: dict[str, Scores],
    *,
    metric: str,
    n: int,
    num_draws: int,
) -> None:
    """Add the mean of every arm at one n."""
    for arm, table in tables.items():
        generator = numpy_generator("mean", metric, arm, n)
        estimate = bootstrap_mean(table, num_draws=num_draws, generator=generator)
        found.means.append(Mean(metric=metric, arm=arm, num_labelled=n, **vars(estimate)))


def _add_differences(
    found: Compared,
    tables: dict[str, Scores],
    roles: _Roles,
    *,
    metric: str,
    n: int,
    num_draws: int,
) -> None:
    """Add every arm against each baseline at one n."""
    for place, baseline in enumerate(roles.baselines):
        others = [arm for arm in tables if arm not in roles.baselines[: place + 1]]
        for arm in others if baseline in tables else []:
            estimate = paired_bootstrap(
                tables[baseline],
                tables[arm],
                num_draws=num_draws,
                generator=numpy_generator("difference", metric, arm, n),
            )
            found.differences.append(
                Difference(
                    metric=metric, arm=arm, num_labelled=n, against=baseline, **vars(estimate)
                )
            )


def _add_shares(
    found: Compared,
    tables: dict[str, Scores],
    roles: _Roles,
    *,
    metric: str,
    n: int,
    num_draws: int,
) -> None:
    """Add every arm's share of the gap between floor and ceiling at one n."""
    floors, ceilings = (
        [a for a in names if a in tables] for names in (roles.floors, roles.ceilings)
    )
    if not floors or not ceilings:
        return
    floor, ceiling = floors[0], ceilings[0]
    for arm in [arm for arm in tables if arm not in (floor, ceiling)]:
        share = share_of_gap(
            tables[floor],
            tables[arm],
            tables[ceiling],
            num_draws=num_draws,
            generator=numpy_generator("gap", metric, arm, n),
        )
        found.gap_closed.append(GapClosed(metric=metric, arm=arm, num_labelled=n, **vars(share)))
