"""Endpoints and groups: means over some structures, and of each group of subjects."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_study import write_box_cohort
from made_up_work import make_work

from vcmaug.data.case import Case
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.splits import Splits
from vcmaug.data.volume import Volume
from vcmaug.downstream.results import Summary, read_summary
from vcmaug.downstream.settings import StudySettings
from vcmaug.downstream.study import StudyInputs, run_study
from vcmaug.downstream.training_data import TrainingData
from vcmaug.errors import DataError
from vcmaug.files import read_json, write_json
from vcmaug.report.document import write_report

SCHEME = LabelScheme.from_mapping({"box": 3, "slab": 4})
SPLITS = Splits(train=("s0", "s1"), validation=(), test=("s2", "s3", "s4", "s5"), seed=0)
GROUPS = {"s2": "old", "s3": "young", "s4": "old", "s5": "young"}


def _cases(folder: Path, groups: dict[str, str]) -> tuple[Case, ...]:
    """Write a bright box over a slab per subject."""
    made = []
    for number in range(6):
        generator = np.random.default_rng(number)
        label = np.zeros((12, 12, 12), dtype=np.uint16)
        label[8:] = 4
        label[tuple(slice(c, c + 4) for c in generator.integers(1, 4, 3))] = 3
        image = 0.2 * generator.random(label.shape) + np.array([0, 0, 0, 0.7, 0.4])[label]
        paths = folder / "images" / f"k{number}.nii.gz", folder / "labels" / f"k{number}.nii.gz"
        write_image(paths[0], Volume(image.astype(np.float32), np.eye(4)))
        write_label_map(paths[1], Volume(label, np.eye(4)))
        subject = f"s{number}"
        source = {"group": groups[subject]} if subject in groups else {}
        made.append(Case(f"k{number}", subject, {"image": paths[0]}, paths[1], source))
    return tuple(made)


def _study(folder: Path, *, told: dict[str, str] = GROUPS, **settings: Any) -> Summary:
    cohort = write_box_cohort(
        folder / "cohort",
        ("s0", "s1"),
        scheme=SCHEME,
        subjects=dict.fromkeys(("prior", "control", "conditions"), ("s0", "s1")),
    )
    arms = {"real": TrainingData(is_baseline=True), "mixed": TrainingData({(2, 0): cohort})}
    content = {
        "num_labelled": [2],
        "seeds": [0],
        "augment": {"versions": 1},
        "fit": {"updates": 4, "batch_size": 2},
        **settings,
    }
    inputs = StudyInputs(_cases(folder / "cases", told), SPLITS, SCHEME, arms)
    return run_study(StudySettings.model_validate(content), inputs, out=folder / "study")


def _mean(summary: Summary, arm: str, metric: str = "dice") -> float:
    (row,) = (one for one in summary.means if (one.arm, one.metric) == (arm, metric))
    return row.mean


def test_each_group_has_a_summary_of_its_own_subjects(tmp_path: Path) -> None:
    summary = _study(tmp_path, groups="group")
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert (summary.num_test_subjects, set(summary.groups)) == (4, {"old", "young"})
    for name, group in summary.groups.items():
        own = scores[scores["subject_id"].map(GROUPS) == name]
        assert (own["group"] == name).all()
        assert group.num_test_subjects == 2
        for arm in ("real", "mixed"):
            for metric in ("dice", "volume_error"):
                wanted = own[own["arm"] == arm][metric].mean()
                assert _mean(group, arm, metric) == pytest.approx(wanted)
    assert read_summary(tmp_path / "study" / "summary.json") == summary


def test_endpoints_are_the_structures_over_which_means_are_taken(tmp_path: Path) -> None:
    summary = _study(tmp_path, endpoints=["slab"])
    scores = pd.read_parquet(tmp_path / "study" / "scores.parquet")
    assert set(scores["structure"]) == {"box", "slab"}  # all are scored
    assert summary.structures == ("slab",)
    assert summary.groups == {}
    slab = scores[(scores["structure"] == "slab") & (scores["arm"] == "real")]
    assert _mean(summary, "real") == pytest.approx(slab["dice"].mean())


def test_what_cannot_be_summarised_is_refused_before_any_training(tmp_path: Path) -> None:
    told = {name: group for name, group in GROUPS.items() if name != "s3"} | {"s4": "middle"}
    with pytest.raises(DataError) as refused:
        _study(tmp_path, told=told, groups="group", endpoints=["bx"])
    for fault in (
        "study.endpoints: found 'bx', expected a structure (box, slab)",
        "case k3: column 'group' names no group",
        "study.groups: 'middle' has 1 scored subject, an interval needs 2",
    ):
        assert fault in str(refused.value)
    assert not (tmp_path / "study").exists()


def test_the_page_has_a_section_per_group(tmp_path: Path) -> None:
    work = make_work(tmp_path / "work")
    path = work / "study" / "summary.json"
    content = read_json(path)
    write_json(path, {**content, "groups": {"70 and over": content}})
    scores = pd.read_parquet(work / "study" / "scores.parquet")
    scores["group"] = "70 and over"
    scores.to_parquet(work / "study" / "scores.parquet")
    page = write_report(work, tmp_path / "report.html").read_text()
    assert "The study, group 70 and over" in page
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids))
