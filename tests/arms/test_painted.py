import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import IN_PROCESS, SCHEME, make_tiny_cases

from vcmaug.arms.base import Sources
from vcmaug.arms.painted import Painted
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builder import Builder, grown_values
from vcmaug.conditions.builders.grow import Grow, GrowSettings
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.conditions.table import read_conditions
from vcmaug.conditions.workshop import workshop_in
from vcmaug.data.case import Case
from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError

GREY = np.array([0.0, 0.8, 0.5])
SHELL, CORE = 1, 2


@pytest.fixture
def cases(tmp_path: Path) -> tuple[Case, ...]:
    """Cases with a bright shell that has a few dark voxels, about a grey core."""
    generator, made = np.random.default_rng(0), []
    for case in make_tiny_cases(tmp_path / "labels"):
        assert case.label is not None
        label = read_label_map(case.label, case_id=case.case_id)
        array = GREY[label.array] + generator.normal(0, 0.01, label.shape)
        array[(label.array == SHELL) & (generator.random(label.shape) < 0.05)] = 0.1
        image = tmp_path / "images" / f"{case.case_id}.nii.gz"
        write_image(image, Volume(np.clip(array, 0, 1) * (label.array > 0), label.affine))
        made.append(Case(case.case_id, case.subject_id, {"image": image}, case.label, case.source))
    return tuple(made)


def _painted(root: Path, cases: tuple[Case, ...], *steps: Builder, arm: Painted) -> list[dict]:
    build_conditions(
        ConditionSettings(chains=(Chain(steps=steps),)),
        cases,
        folder=root / "conditions",
        scheme=SCHEME,
        n=4,
        seed=5,
        roles={},
        compute=IN_PROCESS,
    )
    arm.make(Sources(cases, SCHEME, 4, root / "conditions", seed=3), out=root / "out")
    return read_manifest(root / "out").to_dict("records")


def _grow(times: float) -> Grow:
    return Grow(structures=[GrowSettings(structure="core", times=times)], smoothness_mm=2)


def test_what_grew_becomes_dark_and_nothing_else_changes(
    tmp_path: Path, cases: tuple[Case, ...]
) -> None:
    rows = _painted(tmp_path, cases, _grow(1.5), arm=Painted(share=1))
    assert check_cohort(tmp_path / "out") == []
    workshop, table = workshop_in(tmp_path / "conditions"), read_conditions(tmp_path / "conditions")
    assert len(rows) == len(table)
    for row, asked in zip(rows, table, strict=True):
        image = read_image(tmp_path / "out" / row["image"], case_id="").array
        labels = read_label_map(tmp_path / "out" / row["label"], case_id="").array
        before, core = workshop.follow(asked).array, labels == CORE
        assert np.allclose(image[~core], before[~core], atol=2e-4)  # files hold 16 bits
        assert np.median(before[core]) > 0.4
        assert image[core].min() < 0.2
        assert np.median(image[core]) < 0.35


def test_each_case_lies_somewhere_between_both(tmp_path: Path, cases: tuple[Case, ...]) -> None:
    rows = _painted(tmp_path, cases, _grow(1.5), arm=Painted())
    medians = []
    for row in rows:
        image = read_image(tmp_path / "out" / row["image"], case_id="").array
        labels = read_label_map(tmp_path / "out" / row["label"], case_id="").array
        medians.append(float(np.median(image[labels == CORE])))
    assert max(medians) - min(medians) > 0.05
    first = {row["image_sha256"] for row in rows}
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "conditions")
    assert {
        row["image_sha256"] for row in _painted(tmp_path, cases, _grow(1.5), arm=Painted())
    } == (first)


@pytest.mark.parametrize("step", [_grow(0.7), Perturb(max_displacement_mm=2.0)])
def test_conditions_in_which_nothing_grew_are_refused(
    tmp_path: Path, cases: tuple[Case, ...], step: Builder
) -> None:
    with pytest.raises(CohortError, match=r"none of its 4 conditions.*or leave the arm out"):
        _painted(tmp_path, cases, step, arm=Painted())
    assert not (tmp_path / "out").exists()
    assert not any(grown_values(row.steps) for row in read_conditions(tmp_path / "conditions"))
