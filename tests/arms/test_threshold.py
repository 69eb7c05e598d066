"""Two parameters instead of a network: chosen on the labelled cases, scored as all arms are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_study import BOX, SPLITS, write_box_cases

from vcmaug.arms.real import Real
from vcmaug.arms.threshold import Threshold
from vcmaug.data.labels import LabelScheme
from vcmaug.data.volumes import LabelledVolumes
from vcmaug.downstream.results import Summary
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.study import StudyInputs, run_study
from vcmaug.downstream.tasks.base import Task
from vcmaug.errors import DataError

SCHEME = LabelScheme.from_mapping({"tissue": 1, "fluid": 2})


def _heads(num: int, *, grey: float = 0.2, seed: int = 0) -> LabelledVolumes:
    """Return heads with dark fluid inside, and as dark a rim that is none."""
    generator = np.random.default_rng(seed)
    images, labels = [], []
    for _ in range(num):
        places = np.indices((24, 24, 24)) - 11.5 - generator.uniform(-1, 1, (3, 1, 1, 1))
        away = np.sqrt((places**2).sum(axis=0))
        fluid = away < generator.uniform(3, 5)
        image = np.where(fluid | (away > 9), grey, 0.7) + generator.normal(0, 0.03, away.shape)
        images.append(np.where(away < 10.5, np.clip(image, 0.05, 1), 0).astype(np.float32))
        labels.append(np.where(fluid, 2, np.where(away < 10.5, 1, 0)).astype(np.uint16))
    names = tuple(f"k{number}" for number in range(num))
    return LabelledVolumes(
        names, np.stack(images), np.stack(labels), (2.0, 2.0, 2.0), "RAS", SCHEME
    )


@pytest.mark.parametrize("grey", [0.2, 0.95])
def test_a_grey_value_and_a_depth_are_found_on_the_labelled_cases(grey: float) -> None:
    """Darker or brighter than all around it."""
    rule = Threshold(structure="fluid").rule
    assert rule is not None
    reading, others = rule.fitted(_heads(3, grey=grey)), _heads(4, grey=grey, seed=1)
    found = reading(others.images)
    assert set(np.unique(found)) == {0, 2}
    both = 2 * np.sum((found == 2) & (others.labels == 2))
    assert both / (np.sum(found == 2) + np.sum(others.labels == 2)) > 0.97


@pytest.mark.parametrize("name", ["fluids", None])
def test_a_structure_that_is_none_is_refused(name: str | None) -> None:
    rule = Threshold(structure=name).rule
    assert rule is not None
    with pytest.raises(DataError, match=r"arm threshold: found structure .*, expected one"):
        rule.fitted(_heads(2))


def _study(folder: Path, structure: str = "box", **settings: Any) -> Summary:
    arms = {arm.name: arm.data_of({}) for arm in (Real(), Threshold(structure=structure))}
    inputs = StudyInputs(write_box_cases(folder / "cases"), SPLITS, BOX, arms)
    content = {
        "num_labelled": [2],
        "seeds": [0, 1],
        "augment": {"versions": 1},
        "fit": {"updates": 2, "batch_size": 2},
        **settings,
    }
    return run_study(StudySettings.model_validate(content), inputs, out=folder / "study")


def test_it_stands_in_a_study_beside_the_networks(tmp_path: Path) -> None:
    summary = _study(tmp_path)
    dice = {row.arm: row.mean for row in summary.means if row.metric == "dice"}
    assert dice["threshold"] > 0.9 > dice["real"]  # the boxes are bright, the network untrained
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert set(scores[scores["arm"] == "threshold"]["seed"]) == {0, 1}
    (row,) = (one for one in summary.differences if one.metric == "dice")
    assert (row.arm, row.against) == ("threshold", "real")
    before = (tmp_path / "study" / "runs" / "threshold-n2-s0.json").read_bytes()
    _study(tmp_path)
    assert (tmp_path / "study" / "runs" / "threshold-n2-s0.json").read_bytes() == before


def test_a_task_that_is_not_of_label_maps_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Task, "reads_labels", False)
    monkeypatch.delattr("vcmaug.downstream.tasks.segmentation.Segmentation.reads_labels")
    with pytest.raises(DataError, match="arm threshold finds structures, and the task is"):
        _study(tmp_path)
