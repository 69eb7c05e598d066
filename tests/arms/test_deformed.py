import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import IN_PROCESS, SCHEME, make_tiny_cases

from vcmaug.arms.base import Sources
from vcmaug.arms.deformed import Deformed
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builders.grow import Grow, GrowSettings
from vcmaug.conditions.builders.modalities import Modalities
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError

SETTINGS = Perturb(max_displacement_mm=2.0, smoothness_mm=6.0, flip_probability=0.5)


@pytest.fixture
def cases(tmp_path: Path) -> tuple[Case, ...]:
    """Cases whose image is their label map, halved."""
    result = []
    for case in make_tiny_cases(tmp_path / "labels"):
        assert case.label is not None
        label = read_label_map(case.label, case_id=case.case_id)
        image = tmp_path / "images" / f"{case.case_id}.nii.gz"
        write_image(image, Volume(label.array / 2, label.affine))
        result.append(
            Case(case.case_id, case.subject_id, {"image": image}, case.label, case.source)
        )
    _build(tmp_path, tuple(result), Chain(steps=(SETTINGS,)))
    return tuple(result)


def _build(tmp_path: Path, cases: tuple[Case, ...], chain: Chain) -> None:
    build_conditions(
        ConditionSettings(chains=(chain,)),
        cases,
        folder=tmp_path / "conditions",
        scheme=SCHEME,
        n=4,
        seed=5,
        roles={},
        compute=IN_PROCESS,
    )


def _deformed(tmp_path: Path, cases: tuple[Case, ...], n: int = 4) -> pd.DataFrame:
    out = tmp_path / "out"
    Deformed().make(Sources(cases, SCHEME, n, tmp_path / "conditions"), out=out)
    return read_manifest(out)


def test_the_image_is_deformed_as_its_label_map_was(
    tmp_path: Path, cases: tuple[Case, ...]
) -> None:
    manifest = _deformed(tmp_path, cases)
    assert check_cohort(tmp_path / "out") == []
    for row in manifest.to_dict("records"):
        image = read_image(tmp_path / "out" / row["image"], case_id="x").array
        label = read_label_map(tmp_path / "out" / row["label"], case_id="x").array
        agree = np.rint(2 * image) == label  # but for voxels where two structures meet
        assert agree.mean() > 0.9


def test_the_image_of_a_grown_map_follows(tmp_path: Path, cases: tuple[Case, ...]) -> None:
    shutil.rmtree(tmp_path / "conditions")
    grow = Grow(structures=[GrowSettings(structure="core", even_ml=(0.3, 0.7))], smoothness_mm=2)
    _build(tmp_path, cases, Chain(steps=(grow,)))
    for row in _deformed(tmp_path, cases).to_dict("records"):
        image = read_image(tmp_path / "out" / row["image"], case_id="x").array
        label = read_label_map(tmp_path / "out" / row["label"], case_id="x").array
        assert (np.rint(2 * image) == label).mean() > 0.97


def test_what_is_shown_of_a_map_does_not_keep_its_image_from_following(
    tmp_path: Path, cases: tuple[Case, ...]
) -> None:
    shown = Modalities(channels=("label_map", "image"))
    chain = Chain(steps=(SETTINGS, shown))
    assert chain.images_follow
    assert Chain(steps=(shown, SETTINGS)).images_follow
    assert not Chain(steps=(shown,)).images_follow  # nothing to follow
    plain = _deformed(tmp_path, cases)
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "conditions")
    _build(tmp_path, cases, chain)
    for one, other in zip(
        plain["image_sha256"], _deformed(tmp_path, cases)["image_sha256"], strict=True
    ):
        assert one == other


def test_conditions_that_no_image_can_follow_are_refused(
    tmp_path: Path, cases: tuple[Case, ...]
) -> None:
    shutil.rmtree(tmp_path / "conditions")
    _build(tmp_path, cases, Chain(steps=(Modalities(channels=("label_map", "image")),)))
    with pytest.raises(CohortError, match=r"none of its 4 conditions.*leave the arm out"):
        _deformed(tmp_path, cases)
    assert not (tmp_path / "out").exists()


def test_there_are_no_more_cases_than_conditions(tmp_path: Path, cases: tuple[Case, ...]) -> None:
    manifest = _deformed(tmp_path, cases, n=9)
    assert list(manifest["builder"]) == ["deform"] * 4
    assert manifest["condition_id"].is_unique


def test_a_condition_of_other_cases_is_refused(tmp_path: Path, cases: tuple[Case, ...]) -> None:
    with pytest.raises(CohortError, match=f"not among the {len(cases) - 1} labelled cases"):
        _deformed(tmp_path, cases[1:])
