"""As many labels, of every kind."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from made_up_study import BOX, SPLITS, write_box_cases

from vcmaug.arms.all_real import AllReal
from vcmaug.arms.real import Real
from vcmaug.arms.real_any import RealAny
from vcmaug.data.splits import labelled_subset
from vcmaug.downstream.run import StudyRun
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.study import StudyInputs, run_study


def test_its_cases_are_drawn_from_all_that_have_labels(tmp_path: Path) -> None:
    splits = replace(SPLITS, candidates=("s0", "s1"))
    arms = {arm.name: arm.data_of({}) for arm in (Real(), RealAny(), AllReal())}
    inputs = StudyInputs(write_box_cases(tmp_path / "cases"), splits, BOX, arms)
    settings = StudySettings.model_validate(
        {
            "num_labelled": [2],
            "seeds": [0, 1, 2],
            "augment": {"versions": 1},
            "fit": {"updates": 1, "batch_size": 1},
        }
    )
    for seed in settings.seeds:
        runs = {arm: StudyRun(arm, 2, seed, settings, inputs).labelled for arm in arms}
        assert set(runs["real"]) == {"s0", "s1"}
        assert runs["real-any"] == labelled_subset(splits, num_labelled=2, seed=seed, of_all=True)
    assert any(
        set(StudyRun("real-any", 2, seed, settings, inputs).labelled) - {"s0", "s1"}
        for seed in settings.seeds
    )
    summary = run_study(settings, inputs, out=tmp_path / "study")
    counts = {(run.arm, run.num_labelled, run.num_real) for run in summary.runs}
    assert counts == {("real", 2, 2), ("real-any", 2, 2), ("all-real", 4, 4)}
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert set(scores["arm"]) == set(arms)
