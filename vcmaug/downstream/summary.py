"""From scores to means, paired differences and the share of the label gap closed.

What it is: pure functions of the score table.
In the flow: the last step of a study, before `summary.json`.
Sources: none; the intervals are those of `statistics`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.downstream.arms import CEILING
from vcmaug.downstream.statistics import bootstrap_mean, paired_bootstrap, share_of_gap
from vcmaug.seeding import numpy_generator

__all__ = ["compared"]

METRICS = ("dice", "hd95_mm")
_LESION_WISE = ("lesion_f1", "lesion_sensitivity", "lesion_precision")  # where lesions are scored
_BASELINES = ("real", "self-training")
"""Arms against which the others are held: labels alone, and the rival without a generator."""

Scores = NDArray[np.float64]  # [seeds, subjects]


def compared(
    scores: pd.DataFrame, *, num_labelled: Sequence[int], num_draws: int
) -> dict[str, list[dict[str, Any]]]:
    """Return `means`, `differences` and `gap_closed`, one row per metric, n and arm.

    Args:
        scores: Rows with arm, num_labelled, seed, subject_id and the metrics.
        num_labelled: The n of the grid; `all-real` has one of its own and stands beside each.
        num_draws: Bootstrap draws.
    """
    found: dict[str, list[dict[str, Any]]] = {"means": [], "differences": [], "gap_closed": []}
    ceiling = scores[scores["arm"] == CEILING]
    for metric in (*METRICS, *(name for name in _LESION_WISE if name in scores)):
        for n in num_labelled:
            at_n = scores[(scores["num_labelled"] == n) & (scores["arm"] != CEILING)]
            tables = _tables(at_n, metric)
            _add_means(found, tables, metric=metric, n=n, num_draws=num_draws)
            tables |= _tables(ceiling, metric)
            _add_differences(found, tables, metric=metric, n=n, num_draws=num_draws)
        for n in ceiling["num_labelled"].unique():
            _add_means(
                found, _tables(ceiling, metric), metric=metric, n=int(n), num_draws=num_draws
            )
    return found


def _tables(scores: pd.DataFrame, metric: str) -> dict[str, Scores]:
    """Return scores [seeds, subjects] per arm: means over structures and a subject's cases."""
    tables = {}
    for arm in scores["arm"].unique():
        rows = scores[scores["arm"] == arm]
        table = rows.pivot_table(index="seed", columns="subject_id", values=metric, aggfunc="mean")
        tables[str(arm)] = np.asarray(table.to_numpy(), dtype=np.float64)
    return tables


def _add_means(
    found: dict[str, list[dict[str, Any]]],
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
        name = {"metric": metric, "arm": arm, "num_labelled": n}
        found["means"].append({**name, **asdict(estimate)})


def _add_differences(
    found: dict[str, list[dict[str, Any]]],
    tables: dict[str, Scores],
    *,
    metric: str,
    n: int,
    num_draws: int,
) -> None:
    """Add every arm against `real` and self-training at one n, and its share of the label gap."""
    for place, baseline in enumerate(_BASELINES):
        others = [arm for arm in tables if arm not in _BASELINES[: place + 1]]
        for arm in others if baseline in tables else []:
            estimate = paired_bootstrap(
                tables[baseline],
                tables[arm],
                num_draws=num_draws,
                generator=numpy_generator("difference", metric, arm, n),
            )
            name = {"metric": metric, "arm": arm, "num_labelled": n, "against": baseline}
            found["differences"].append({**name, **asdict(estimate)})
    if "real" not in tables or CEILING not in tables:
        return
    for arm in [arm for arm in tables if arm not in ("real", CEILING)]:
        share = share_of_gap(
            tables["real"],
            tables[arm],
            tables[CEILING],
            num_draws=num_draws,
            generator=numpy_generator("gap", metric, arm, n),
        )
        name = {"metric": metric, "arm": arm, "num_labelled": n}
        found["gap_closed"].append({**name, **asdict(share)})
