from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_study import SPLITS, edit_rows, write_box_cases, write_box_cohort

from vcmaug.data.dice import dice_of
from vcmaug.errors import CohortError, WorkFolderError
from vcmaug.files import locked, read_json, write_json
from vcmaug.quality.measured import Volumes
from vcmaug.quality.results import EvaluatorCard, Quality
from vcmaug.quality.run import METRICS, evaluate_cohort


class Read:
    """Reads boxes as a function does, and holds them against what was asked for."""

    def __init__(self, read: Callable[[np.ndarray], np.ndarray]) -> None:
        self.read = read

    def adherence(self, images: np.ndarray, asked: np.ndarray) -> list[dict[str, float]]:
        pairs = zip(self.read(images), asked, strict=True)
        return [{"box": dice_of(found == 3, wanted == 3)} for found, wanted in pairs]


def _threshold(images: np.ndarray) -> np.ndarray:
    """Read a box by its brightness."""
    return np.where(images > 0.5, 3, 0).astype(np.uint16)


def test_a_cohort_is_evaluated_beside_real_cases(tmp_path: Path) -> None:
    cases = write_box_cases(tmp_path / "cases", num=10)
    cohort = write_box_cohort(tmp_path / "cohort", SPLITS.train, num=4)
    quality = evaluate_cohort(
        cohort,
        real=cases[4:],
        evaluator=Read(_threshold),
        about_evaluator=EvaluatorCard(),
        trained_on=cases[:4],
        out=tmp_path / "out",
    )
    assert Quality.read(tmp_path / "out" / "quality.json") == quality
    table = pd.read_parquet(tmp_path / "out" / "adherence.parquet")
    assert table["source"].value_counts().to_dict() == {"real": 6, "synthetic": 4}
    assert (table["dice"] > 0.99).all()
    assert [row["row"] for row in quality.rows("distances")] == [
        "real vs real",
        "synthetic vs real",
    ]
    assert {(row["num_first"], row["num_second"]) for row in quality.rows("distances")} == {(3, 3)}
    assert [row["row"] for row in quality.rows("memorisation")] == ["real hold-out", "synthetic"]
    assert quality.missing == ()
    measured = {name for part in ("distances", "memorisation") for name in quality.rows(part)[0]}
    assert set(quality.metrics) == {metric.figure for metric in METRICS}
    assert set(quality.metrics) - {"adherence_dice"} <= measured


def test_what_cannot_be_measured_is_said_to_be_missing(tmp_path: Path) -> None:
    cohort = write_box_cohort(tmp_path / "cohort", SPLITS.train)
    quality = evaluate_cohort(
        cohort, real=(), evaluator=None, about_evaluator=EvaluatorCard(), out=tmp_path / "out"
    )
    assert [text.split(":")[0] for text in quality.missing] == [
        "adherence", "distances", "memorisation"
    ]  # fmt: skip
    assert (
        quality.rows("adherence") == quality.rows("distances") == quality.rows("memorisation") == ()
    )


def test_too_few_cases_and_another_grid_are_refused(tmp_path: Path) -> None:
    cases = write_box_cases(tmp_path / "cases")
    few = write_box_cohort(tmp_path / "few", SPLITS.train, num=2)
    edit_rows(few, status="failed")
    for cohort, match in (
        (few, "1 finished"),
        (write_box_cohort(tmp_path / "other", SPLITS.train, side=14), "shape"),
    ):
        with pytest.raises(CohortError, match=match):
            evaluate_cohort(
                cohort,
                real=cases,
                evaluator=None,
                about_evaluator=EvaluatorCard(),
                out=tmp_path / "out",
            )


def test_figures_are_not_written_into_what_is_measured_or_beside_another_run(
    tmp_path: Path,
) -> None:
    cases = write_box_cases(tmp_path / "cases", num=6)
    cohort = write_box_cohort(tmp_path / "cohort", SPLITS.train, num=4)
    evaluate = partial(
        evaluate_cohort, cohort, evaluator=None, about_evaluator=EvaluatorCard(), real=cases[:3]
    )
    before = {*tmp_path.rglob("*")}
    for out in (cohort, cohort / "images", tmp_path, cases[0].image, cases[4].image.parent):
        with pytest.raises(WorkFolderError, match=r"the output .* (is|lies in|holds) .*is read"):
            evaluate(trained_on=cases[3:], out=out)
    assert {*tmp_path.rglob("*")} == before
    with (
        locked(tmp_path / "out", purpose="evaluating"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(evaluating\)"),
    ):
        evaluate(out=tmp_path / "out")


def test_adherence_is_dice_between_asked_and_found_with_empties_counted() -> None:
    asked, found = np.zeros((2, 3, 4, 4, 4), dtype=np.uint16)
    asked[0, :2, :2, :2] = found[0, :2, :2, 1:3] = 3  # half of each box overlaps
    asked[1, 0, 0, 0] = 3  # asked and not found; the third case asks and finds nothing
    volumes = Volumes(("a", "b", "c"), np.zeros(asked.shape, dtype=np.float32), asked)
    table = volumes.adherence(Read(lambda images: found), source="synthetic")
    assert list(table["dice"]) == [0.5, 0.0, 1.0]


def test_an_older_evaluation_calls_the_evaluator_reader(tmp_path: Path) -> None:
    path, about = tmp_path / "quality.json", {"subjects": 3, "settings": {"threads": None}}
    rows = [{"source": "real", "structure": "mean", "dice": 0.5}]
    write_json(path, {"reader": about, "adherence": rows, "missing": []})
    quality = Quality.read(path)
    assert (quality.evaluator.subjects, quality.mean_adherence) == (3, {"real": 0.5})
    quality.write(path)
    assert read_json(path)["evaluator"] == about
    assert "reader" not in read_json(path)


def test_published_evaluations_are_read() -> None:
    files = sorted((Path(__file__).parents[2] / "recipes").glob("*/results*/quality.json"))
    assert files
    for content in (one for path in files for one in read_json(path).values()):
        quality = Quality.model_validate(content)
        assert set(quality.mean_adherence) == {"synthetic", "real"}
        assert len(quality.rows("distances")) == len(content["distances"])
