"""An arm, a metric and a segmenter of one's own, defined here alone, through a whole recipe."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import yaml
from making import make
from torch import nn

from vcmaug.arms.base import Arm, Need, Sources
from vcmaug.arms.rows import seen_by_labels, write_row
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.plain import write_plain_cohort
from vcmaug.config import merged
from vcmaug.data.nifti import read_image
from vcmaug.data.steps import Step
from vcmaug.data.volume import Volume
from vcmaug.downstream.segmenters.base import Segmenter
from vcmaug.errors import RecipeError
from vcmaug.files import read_json
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import claim_work
from vcmaug.progress import Report, silent
from vcmaug.quality.measured import Measured
from vcmaug.quality.metrics.base import Metric, Row


class Darker(Arm):
    """Real labelled cases mixed with darker ones."""

    name: Literal["real+darker"] = "real+darker"
    factor: float = 0.5

    colour: ClassVar[str] = "#123456"
    needs: ClassVar[frozenset[Need]] = frozenset()
    folder: ClassVar[str | None] = "darker"

    def make(self, sources: Sources, *, out: Path, report: Report = silent) -> None:
        rows = []
        for index, case in enumerate(sources.cases):
            assert case.label is not None
            image = read_image(case.image, case_id=case.case_id)
            row = write_row(
                CohortLayout(out),
                index,
                method="darker",
                image=Volume((self.factor * image.array).astype(np.float32), image.affine),
                label_file=case.label.read_bytes(),
                condition_id=case.case_id,
                parents=(case,),
                parameters=(Step("darker", {"factor": self.factor}),),
                seed=0,
                seconds=0.0,
            )
            rows.append(row)
        seen = seen_by_labels(sources.cases)
        write_plain_cohort(CohortLayout(out), rows, scheme=sources.scheme, seen=seen)


class Brightness(Metric):
    """Mean grey value."""

    name: Literal["brightness"] = "brightness"

    figure: ClassVar[str] = "brightness"
    title: ClassVar[str] = "Brightness"
    better: ClassVar[Literal["higher", "lower", "near 0.5"]] = "higher"
    blind_spot: ClassVar[str] = "It sees nothing but the mean."
    section: ClassVar[str] = "brightness"
    columns: ClassVar[Mapping[str, str]] = {"row": "images", "brightness": "mean grey value"}

    def rows(self, ground: Measured) -> Sequence[Row]:
        return [{"row": "synthetic", "brightness": float(ground.drawn.images.mean())}]


class OneLayer(Segmenter):
    """A single layer."""

    name: Literal["one-layer"] = "one-layer"

    def network(self, *, num_structures: int, image_channels: int = 1) -> nn.Module:
        return nn.Conv3d(image_channels, num_structures + 1, 3, padding=1)


def _recipe(recipe_path: Path, folder: Path, **changes: object) -> Path:
    content = yaml.safe_load(recipe_path.read_text())
    content["study"].pop("segmenter")
    path = folder / "own.yaml"
    path.write_text(json.dumps(merged(content, changes)))
    return path


def test_own_parts_go_the_whole_way(recipe_path: Path, tmp_path: Path) -> None:
    arms = ["real", "real+synthetic", {"name": "real+darker", "factor": 0.25}]
    study = {"arms": arms, "segmenter": "one-layer", "seeds": [0]}
    path = _recipe(recipe_path, tmp_path, study=study, metrics=["adherence", "brightness"])
    work = claim_work(tmp_path / "work", read_recipe(path), profile=None)
    assert "darker-n2-s0" in {need.name for need in Graph(work).study.needs()}
    said: list[str] = []
    make(Graph(work).report, say=lambda name, ran: said.append(name))
    assert "darker-n2-s0" in said
    runs = {run["arm"]: run for run in read_json(work.study / "summary.json")["runs"]}
    assert runs["real+darker"]["num_synthetic"] == 2
    quality = read_json(work.replicates[0].quality / "quality.json")
    assert set(quality["metrics"]) == {"adherence_dice", "brightness"}
    assert 0 < quality["brightness"][0]["brightness"] < 1
    page = (work.folder / "report.html").read_text()
    assert "Brightness (higher is better). It sees nothing but the mean." in page
    assert "#123456" in page  # the arm's colour, in the plots
    again: dict[str, bool] = {}
    make(Graph(work).report, say=again.__setitem__)
    assert [name for name, ran in again.items() if ran] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reader": {"updates": 3}}, "reader: is called 'evaluator' now"),
        ({"rivals": {"copy_paste": {}}}, "rivals: was removed; settings of an arm stand with it"),
        ({"study": {"arms": ["real", "real"]}}, "real stands twice"),
        ({"study": {"segmenter": {"channels": [4]}}}, "it has no name; known are"),
        ({"study": {"arms": ["real+sinthetic"]}}, "did you mean 'real+synthetic'?"),
    ],
)
def test_old_keys_and_bad_arms_have_one_clear_error(
    recipe_path: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(RecipeError) as fault:
        read_recipe(_recipe(recipe_path, tmp_path, **changes))
    assert said in str(fault.value)
