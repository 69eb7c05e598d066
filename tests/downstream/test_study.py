from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_study import BOX, SPLITS, edit_rows, write_box_cases, write_box_cohort
from torch import nn

from vcmaug.compute import Compute
from vcmaug.data.splits import Splits, labelled_subset
from vcmaug.data.work_layout import run_file
from vcmaug.downstream.results import (
    Difference,
    Summary,
    read_cost,
    read_result,
    read_summary,
)
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.study import StudyInputs, run_arm, run_study
from vcmaug.downstream.tasks.segmentation import Segmentation
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import CohortError, ComputeError, DataError, LeakError, WorkFolderError
from vcmaug.files import locked, read_json
from vcmaug.progress import Progress

SETTINGS = StudySettings.model_validate(
    {
        "num_labelled": [2],
        "seeds": [0],
        "segmenter": {"name": "unet", "channels": [8, 16], "num_res_units": 0},
        "augment": {"versions": 2},
        "fit": {"updates": 4, "batch_size": 2},
    }
)


def _inputs(folder: Path, *, splits: Splits = SPLITS, side: int = 12) -> StudyInputs:
    cases = write_box_cases(folder / "cases")
    for n in (2, 3):
        for seed in (0, 1):
            labelled = labelled_subset(SPLITS, num_labelled=n, seed=seed)
            write_box_cohort(folder / f"n{n}-s{seed}", labelled, side=side)
    cohorts = {(n, seed): folder / f"n{n}-s{seed}" for n in (2, 3) for seed in (0, 1)}
    real = TrainingData(is_baseline=True, keeps_network=True)
    arms = {"real": real, "real+synthetic": TrainingData(cohorts)}
    return StudyInputs(cases, splits, BOX, arms)


def _with_ceiling(inputs: StudyInputs) -> StudyInputs:
    ceiling = TrainingData(is_ceiling=True)
    return replace(inputs, arms={**inputs.arms, "all-real": ceiling})


class Updates:
    """Counts the updates of every training."""

    def __init__(self, *, stop_after: int = 10**9) -> None:
        self.counts: dict[str, int] = {}
        self.stop_after = stop_after

    def __call__(self, progress: Progress) -> None:
        self.counts[progress.what] = self.counts.get(progress.what, 0) + 1
        if sum(self.counts.values()) >= self.stop_after:
            raise KeyboardInterrupt


def _files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_grid_is_run_scored_and_summarised(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"num_labelled": (2, 3), "seeds": (0, 1)})
    updates = Updates()
    summary = run_study(settings, _inputs(tmp_path), out=tmp_path / "study", report=updates)
    assert len(updates.counts) == 8
    assert set(updates.counts.values()) == {4}  # as many in every arm
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert len(scores) == 8 * 2  # runs x test cases, one structure
    assert set(scores["subject_id"]) == set(SPLITS.test)
    assert len(summary.means) == 3 * 2 * 2  # metrics, n, arms
    assert len(summary.differences) == 3 * 2
    assert summary.threads == 1
    assert "subjects and seeds" in summary.interval
    assert "Dice 1" in summary.empty_rule
    path = tmp_path / "study" / "summary.json"
    assert read_summary(path) == summary
    assert list(read_json(path)["differences"][0])[:5] == [
        "metric",
        "arm",
        "num_labelled",
        "against",
        "mean",
    ]


def test_cases_are_not_written_over_and_one_study_writes_at_a_time(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    for out in (tmp_path, tmp_path / "cases"):
        with pytest.raises(WorkFolderError, match=r"holds .*, which is read"):
            run_study(SETTINGS, inputs, out=out)
    with (
        locked(tmp_path / "study", purpose="training"),
        pytest.raises(WorkFolderError, match="in use by process"),
    ):
        run_study(SETTINGS, inputs, out=tmp_path / "study")


def test_the_difference_is_that_of_the_score_table(tmp_path: Path) -> None:
    summary = run_study(SETTINGS, _inputs(tmp_path), out=tmp_path / "study")
    scores = pd.read_csv(tmp_path / "study" / "scores.csv")
    means = scores.groupby("arm")["dice"].mean()
    row = next(row for row in summary.differences if row.metric == "dice")
    assert row.mean == pytest.approx(means["real+synthetic"] - means["real"])
    assert "nothing of other seeds" in summary.interval


def test_a_rerun_trains_nothing_and_a_change_trains_what_it_touches(tmp_path: Path) -> None:
    inputs, out = _inputs(tmp_path), tmp_path / "study"
    run_study(SETTINGS, inputs, out=out)
    before, updates = _files(out), Updates()
    run_study(SETTINGS, inputs, out=out, report=updates)
    assert not updates.counts
    assert _files(out) == before
    edit_rows(tmp_path / "n2-s0", image_sha256="another image")
    run_study(SETTINGS, inputs, out=out, report=updates)
    assert list(updates.counts) == ["real+synthetic, n = 2, seed 0"]


def test_a_killed_study_keeps_whole_runs_only_and_ends_the_same(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    run_study(SETTINGS, inputs, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_study(SETTINGS, inputs, out=tmp_path / "cut", report=Updates(stop_after=6))
    assert [path.name for path in (tmp_path / "cut").rglob("*.json")] == ["real-n2-s0.json"]
    updates = Updates()
    run_study(SETTINGS, inputs, out=tmp_path / "cut", report=updates)
    assert list(updates.counts) == ["real+synthetic, n = 2, seed 0"]
    whole, cut = (pd.read_parquet(tmp_path / name / "scores.parquet") for name in ("whole", "cut"))
    pd.testing.assert_frame_equal(whole, cut)


def test_a_leak_stops_the_study_before_any_training(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"num_labelled": (2, 3)})
    inputs, updates = _inputs(tmp_path), Updates()
    edit_rows(tmp_path / "n3-s0", source_subject_ids=("s5",))
    with pytest.raises(LeakError, match="s5"):
        run_study(settings, inputs, out=tmp_path / "study", report=updates)
    assert not updates.counts
    assert not (tmp_path / "study").exists()


def test_a_test_subject_with_two_roles_is_refused_in_the_real_arm(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, splits=replace(SPLITS, test=("s1", "s5")))
    inputs = replace(inputs, arms={"real": inputs.arms["real"]})
    settings = SETTINGS.model_copy(update={"num_labelled": (4,)})
    with pytest.raises(LeakError, match="s1 of test is among the real training cases"):
        run_study(settings, inputs, out=tmp_path / "study")


def test_what_could_not_be_scored_is_refused_first(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    with pytest.raises(DataError, match="an interval needs 2"):
        run_study(
            SETTINGS, replace(inputs, splits=replace(SPLITS, test=("s5",))), out=tmp_path / "study"
        )
    bare = tuple(replace(case, label=None) if case.case_id == "k6" else case
                 for case in inputs.cases)  # fmt: skip
    with pytest.raises(DataError, match="case k6: no label map"):
        run_study(SETTINGS, replace(inputs, cases=bare), out=tmp_path / "study")


def test_a_cohort_on_another_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="found 14x14x14 voxels"):
        run_study(SETTINGS, _inputs(tmp_path, side=14), out=tmp_path / "study")


def test_arms_start_from_the_same_weights_and_data(tmp_path: Path) -> None:
    fit = SETTINGS.fit.model_copy(update={"synthetic_share": 0.0})
    settings = SETTINGS.model_copy(update={"fit": fit})
    run_study(settings, _inputs(tmp_path), out=tmp_path / "study")
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    first, second = (scores[scores["arm"] == arm]["dice"] for arm in ("real", "real+synthetic"))
    np.testing.assert_array_equal(first, second)


def test_the_ceiling_is_trained_once_per_seed_and_gives_the_label_gap(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"num_labelled": (2, 3)})
    updates = Updates()
    inputs = _with_ceiling(_inputs(tmp_path))
    summary = run_study(settings, inputs, out=tmp_path / "study", report=updates)
    assert [name for name in updates.counts if "all-real" in name] == ["all-real, n = 4, seed 0"]
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet").groupby(["arm", "num_labelled"])
    dice = scores["dice"].mean()
    gap = next(
        row
        for row in summary.gap_closed
        if (row.metric, row.num_labelled, row.arm) == ("dice", 3, "real+synthetic")
    )
    wanted = (dice["real+synthetic", 3] - dice["real", 3]) / (dice["all-real", 4] - dice["real", 3])
    assert gap.share == pytest.approx(wanted)
    ceilings = [row for row in summary.differences if row.arm == "all-real"]
    assert {(row.num_labelled, row.against) for row in ceilings} == {(2, "real"), (3, "real")}


def test_choices_are_scored_on_validation_and_leave_the_test_closed(tmp_path: Path) -> None:
    splits = replace(SPLITS, validation=("s4", "s6"), test=("s5",))
    inputs = _inputs(tmp_path, splits=splits)
    inputs.cases[5].image.unlink()  # the test subject's
    settings = SETTINGS.model_copy(update={"scored_on": "validation"})
    summary = run_study(settings, inputs, out=tmp_path / "study")
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert set(scores["subject_id"]) == {"s4", "s6"}
    assert summary.scored_on == "validation"


def test_the_network_of_real_is_kept_and_made_again_if_it_is_lost(tmp_path: Path) -> None:
    kept: list[Path] = []

    def keep(network: nn.Module, path: Path) -> None:
        kept.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")

    inputs, out = replace(_inputs(tmp_path), keep=keep), tmp_path / "study"
    settings, file = SETTINGS, run_file(out, "real", num_labelled=2, seed=0)
    run_arm("real", [(2, 0)], settings=settings, inputs=inputs, out=out)
    assert file.exists()
    assert kept == [file.with_suffix(".safetensors")]
    run_study(settings, inputs, out=out)
    assert len(kept) == 1  # kept, and only the arm `real`
    kept[0].unlink()
    run_study(settings, inputs, out=out)
    assert len(kept) == 2


def test_workers_train_the_same_study(tmp_path: Path) -> None:
    fit = SETTINGS.fit.model_copy(update={"threads": 1})
    settings = SETTINGS.model_copy(update={"fit": fit, "seeds": (0, 1)})
    inputs = _inputs(tmp_path)
    run_study(settings, inputs, out=tmp_path / "here")
    workers = Compute("workers", num=2)
    run_study(settings, inputs, out=tmp_path / "there", compute=workers)
    here, there = ((tmp_path / name / "scores.csv").read_bytes() for name in ("here", "there"))
    assert here == there


def test_what_workers_refuse_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"num_labelled": (2, 3)})
    inputs = _inputs(tmp_path)
    write_box_cohort(tmp_path / "n3-s0", labelled_subset(SPLITS, num_labelled=3, seed=0), side=14)
    with pytest.raises(ComputeError, match=r"real\+synthetic, n = 3, seed 0.*found 14x14x14"):
        run_study(settings, inputs, out=tmp_path / "study", compute=Compute("workers", num=2))
    assert len(list((tmp_path / "study" / "runs").glob("*.json"))) == 3


def test_published_results_of_older_versions_are_read() -> None:
    files = sorted((Path(__file__).parents[2] / "recipes").glob("*/results*/study.json"))
    assert files
    for path in files:
        summary = read_summary(path)
        assert summary.headline.name == "dice"
        assert len(summary.means) == len(read_json(path)["means"])


def test_a_result_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    inputs, out = _inputs(tmp_path), tmp_path / "study"
    run_study(SETTINGS, inputs, out=out)
    path = min((out / "runs").glob("*.json"))
    path.write_text('{"identity": "x"}')
    updates = Updates()
    run_study(SETTINGS, inputs, out=out, report=updates)
    assert len(updates.counts) == 1


def _at_threads(num: int, folder: Path, settings: StudySettings) -> tuple[bytes, bytes]:
    """Return the bytes of summary and scores, in a process of so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        run_study(settings, _inputs(folder), out=folder / "study")
    finally:
        torch.set_num_threads(before)
    files = (folder / "study" / name for name in ("summary.json", "scores.csv"))
    return next(files).read_bytes(), next(files).read_bytes()


def test_the_summary_has_the_same_bytes_whatever_the_threads_of_the_process(
    tmp_path: Path,
) -> None:
    one, two = (_at_threads(num, tmp_path / str(num), SETTINGS) for num in (1, 2))
    assert one == two
    assert b'"threads": 1' in one[0]


@pytest.mark.parametrize("threads", [1, 2, None])
def test_trainings_and_scores_have_the_threads_of_the_settings(
    threads: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), set()
    predict = Segmentation.predict

    def noting(task: Segmentation, *inputs: Any) -> Any:
        seen.add(torch.get_num_threads())
        return predict(task, *inputs)

    monkeypatch.setattr(Segmentation, "predict", noting)
    fit = SETTINGS.fit.model_copy(update={"threads": threads})
    summary = run_study(
        SETTINGS.model_copy(update={"fit": fit}),
        _inputs(tmp_path),
        out=tmp_path / "study",
        report=lambda progress: seen.add(torch.get_num_threads()),
    )
    assert seen == {threads or before}
    assert torch.get_num_threads() == before
    assert summary.threads == threads
    assert ("all threads of its process" in summary.notes[0]) is (threads is None)


def test_subjects_too_few_for_a_p_value_are_said(tmp_path: Path) -> None:
    summary = run_study(SETTINGS, _inputs(tmp_path), out=tmp_path / "study")
    assert summary.notes[1].startswith("2 subjects are too few for a p value")
    assert "cannot go below 0.5." in summary.notes[1]


def test_what_it_cost_stands_apart(tmp_path: Path) -> None:
    summary = run_study(SETTINGS, _inputs(tmp_path), out=tmp_path / "study")
    cost = read_cost(tmp_path / "study" / "cost.json")
    assert len(cost.updates_per_second) == len(summary.runs)
    assert cost.seconds > 0
    assert 0 <= cost.augmentation_share <= 1


def _noise(summary: Summary) -> Difference:
    """Return the noise row of the headline."""
    rows = [row for row in summary.differences if row.arm == "real-again" and row.metric == "dice"]
    assert [row.against for row in rows] == ["real"]  # and no other baseline
    return rows[0]


def test_the_noise_row_is_the_same_training_with_other_batches(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    arms = {**inputs.arms, "real-again": TrainingData(has_other_batches=True)}
    arms["rival"] = TrainingData(arms["real+synthetic"].cohorts, is_baseline=True)
    inputs, out = replace(inputs, arms=arms), tmp_path / "study"
    summary = run_study(SETTINGS, inputs, out=out)
    runs = [read_result(run_file(out, name, num_labelled=2, seed=0)) for name in arms]
    real, _, again, _ = (run for run in runs if run is not None)
    assert (real.num_real, real.num_synthetic) == (again.num_real, again.num_synthetic) == (2, 0)
    assert real.cost.loss != again.cost.loss
    assert summary.noise_arm == "real-again"
    assert summary.verdict(_noise(summary)) == "noise: the same cases with other batches"
    updates = Updates()
    run_study(SETTINGS, inputs, out=out, report=updates)
    assert not updates.counts


def test_figures_carry_no_more_decimals_than_the_noise_row(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path)
    arms = {**inputs.arms, "real-again": TrainingData(has_other_batches=True)}
    found = run_study(SETTINGS, replace(inputs, arms=arms), out=tmp_path / "study")
    row = next(row for row in found.differences if row.arm == "real+synthetic")
    sharp = replace(row, mean=0.0056, low=0.0038, high=0.0073)
    for noise, text in ((0.0002, "+0.0056"), (0.008, "+0.006"), (0.03, "+0.01")):
        again = replace(_noise(found), mean=0.0, low=-noise, high=noise / 2)
        summary = replace(found, differences=(sharp, again))
        assert summary.rounded(sharp, "+")[0] == text


@pytest.mark.parametrize("changes", [{"seeds": [0, 1, 0]}, {"num_labelled": [3, 3]}])
def test_one_training_does_not_count_as_two(changes: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="a number stands twice"):
        StudySettings.model_validate(changes)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        StudySettings.model_validate({"num_labelled": [0]})
