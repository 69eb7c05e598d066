"""Adherence of cohorts to the maps that they were drawn from, seen in training or new."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vcmaug.cohort.cohort import Cohort
from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.data.cases import Cases, cases_of
from vcmaug.data.labels import volumes_mm3
from vcmaug.downstream.evaluator import Evaluator
from vcmaug.downstream.statistics import mean_of
from vcmaug.generate.planning import make_plan
from vcmaug.generate.run import generate
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.work import Replicate, Work

PER_NEW_MAP = 2


def readings(
    work: Work, cohort: Path, shown: Sequence[str], evaluator: Evaluator
) -> dict[str, Any]:
    """Return the mean Dice of what is shown per subject whose map it comes from, and volume errors.

    A volume error is the mean of |read - asked| / asked over the cohort, per structure. Several
    conditions come from one map, so the interval is over subjects.
    """
    drawn = Cohort.open(cohort)
    volumes, scheme, spacing_mm = drawn.read(), drawn.scheme, drawn.grid.spacing_mm
    maps, found = volumes.labels, evaluator(volumes.images)
    dice: dict[str, list[float]] = {}
    for case, seen, one in zip(drawn, found, maps, strict=True):
        subject = drawn.row_of(case).source_subject_ids[0]
        for name, value in evaluator.task.adherence(seen, one, evaluator.ground).items():
            if name in shown:
                dice.setdefault(subject, []).append(value)
    errors: dict[str, list[float]] = {name: [] for name in shown}
    for seen, one in zip(found, maps, strict=True):
        here, there = (volumes_mm3(array, scheme, spacing_mm) for array in (seen, one))
        for name, values in errors.items():
            if there[name] > 0:
                values.append(abs(here[name] - there[name]) / there[name])
    of_subjects = {subject: statistics.mean(values) for subject, values in sorted(dice.items())}
    estimate = mean_of(np.array([[*of_subjects.values()]]))
    return {
        "adherence": estimate.mean,
        "adherence_interval": [estimate.low, estimate.high],
        "adherence_of_subjects": {name: round(dice, 5) for name, dice in of_subjects.items()},
        "num_cases": len(drawn),
        "volume_error": {name: statistics.mean(v) for name, v in errors.items() if v},
    }


def of_new_maps(work: Work, replicate: Replicate, folder: Path) -> Path:
    """Return a cohort of maps that no training has seen: of validation subjects, deformed alike.

    Nothing learns from it, so its conditions are built as if these subjects had no role.
    """
    prepared = Cases.open(work.cases)
    held_out = cases_of(prepared.cases, Graph(work).splits.load().validation)
    recipe, here = work.recipe, Compute("in-process")
    build_conditions(
        recipe.conditions.of_builders,
        held_out,
        folder=folder / "conditions",
        scheme=prepared.scheme,
        n=PER_NEW_MAP * len(held_out),
        seed=replicate.seed,
        roles={},
        scalars=work.recipe.prior.scalars,
        compute=here,
    )
    plan = make_plan(
        recipe.generate.of_plan,
        prior_folder=work.prior,
        control_folder=replicate.control,
        conditions_folder=folder / "conditions",
        n=PER_NEW_MAP * len(held_out),
        seed=replicate.seed,
    )
    generate(plan, out=folder / "cohort", compute=here)
    return folder / "cohort"
