"""A task and a segmenter of one's own, each defined here and nowhere else, through a study."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_study import BOX, SPLITS, write_box_cases, write_box_cohort
from torch import Tensor, nn

from vcmaug.data.splits import labelled_subset
from vcmaug.downstream.results import Summary
from vcmaug.downstream.segmenters.base import Segmenter
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.study import StudyInputs, run_study
from vcmaug.downstream.tasks.base import Figures, Ground, Score, Task
from vcmaug.downstream.training_data import TrainingData


class Sharpening(Task):
    """Volumes of half the resolution made sharp again, scored by the mean squared error."""

    name: Literal["sharpening"] = "sharpening"
    width: int = 4

    scores: ClassVar[tuple[Score, ...]] = (Score("mse", "MSE", "lower", high=None),)

    def network(self, ground: Ground) -> nn.Module:
        return nn.Sequential(
            nn.Conv3d(1, self.width, 3, padding=1), nn.ReLU(), nn.Conv3d(self.width, 1, 1)
        )

    def examples(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        small = nn.functional.avg_pool3d(images, 2)
        return nn.functional.interpolate(small, scale_factor=2), images

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return nn.functional.mse_loss

    def predict(self, network: nn.Module, inputs: Tensor) -> np.ndarray:
        with torch.no_grad():
            return network(inputs).numpy()

    def score(
        self, prediction: Any, target: Any, *, ground: Ground, spacing_mm: Sequence[float]
    ) -> Sequence[Figures]:
        return [{"mse": float(np.mean((prediction - target) ** 2))}]


class Threshold(Segmenter):
    """A single voxel-wise layer."""

    name: Literal["threshold"] = "threshold"

    def network(self, *, num_structures: int, image_channels: int = 1) -> nn.Module:
        return nn.Conv3d(image_channels, num_structures + 1, 1)


def _study(folder: Path, **settings: Any) -> Summary:
    labelled = labelled_subset(SPLITS, num_labelled=2, seed=0)
    cohort = write_box_cohort(folder / "cohort", labelled)
    arms = {"real": TrainingData(is_baseline=True), "mixed": TrainingData({(2, 0): cohort})}
    inputs = StudyInputs(write_box_cases(folder / "cases"), SPLITS, BOX, arms)
    content = {
        "num_labelled": [2],
        "seeds": [0],
        "augment": {"versions": 1},
        "fit": {"updates": 4, "batch_size": 2},
    }
    asked = StudySettings.model_validate(content | settings)
    return run_study(asked, inputs, out=folder / "study")


def test_another_task_is_one_file(tmp_path: Path) -> None:
    summary = _study(tmp_path, task={"name": "sharpening", "width": 3})
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert {row.metric for row in summary.means} == {"mse"}
    means = scores.groupby("arm")["mse"].mean()
    difference = summary.differences[0]
    assert difference.mean == pytest.approx(means["mixed"] - means["real"])
    assert (summary.task, summary.headline.title) == ("sharpening", "MSE")


def test_another_segmenter_is_one_file(tmp_path: Path) -> None:
    summary = _study(tmp_path, segmenter="threshold")
    assert {row.metric for row in summary.means} == {"dice", "hd95_mm", "volume_error"}


def test_a_task_without_scores_is_no_class() -> None:
    with pytest.raises(TypeError, match="it states no scores"):

        class Mute(Task):
            name: Literal["mute"] = "mute"


def test_settings_of_parts_load_no_network() -> None:
    probe = (
        "import sys; import vcmaug.downstream.settings, vcmaug.quality.settings\n"
        "from vcmaug.downstream.tasks.base import Task; from vcmaug.arms.base import Arm\n"
        "from vcmaug.downstream.segmenters.base import Segmenter\n"
        "from vcmaug.quality.metrics.base import Metric\n"
        "[family.parts() for family in (Task, Arm, Segmenter, Metric)]\n"
        "print({'torch', 'monai', 'torchio', 'matplotlib'} & {*sys.modules})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "set()"
