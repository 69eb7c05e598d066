"""Conditions built on whole volumes and brought to a crop of them."""

from pathlib import Path

import numpy as np
import pytest
from tiny import IN_PROCESS, SCHEME

from vcmaug.arms.base import Sources
from vcmaug.arms.deformed import Deformed
from vcmaug.arms.label_to_image import LabelToImage
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.builders.grow import Grow
from vcmaug.conditions.builders.modalities import Modalities
from vcmaug.conditions.chain import Chain, ConditionSettings
from vcmaug.conditions.conditions import Conditions
from vcmaug.conditions.workshop import replay, workshop_in
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import Grid, onto
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.prepare import prepare
from vcmaug.data.source import DataSettings
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

WHOLE = Grid((36, 40, 32), spacing_mm=(2, 2, 2))
CROP = Grid((16, 18, 16), spacing_mm=(3, 3, 3), centre="foreground")
GROW = Grow(structures=[{"structure": "core", "even_ml": (0.6, 3.0)}], smoothness_mm=4)


def _prepared(root: Path, grid: Grid) -> Cases:
    """Return two heads, a shell about a core, on a grid; images are the maps, halved."""
    source = root / "source"
    for number in range(2):
        places = np.indices(WHOLE.shape) - np.reshape((17.5, 20.5 + number, 14), (3, 1, 1, 1))
        away = np.sqrt((places**2).sum(axis=0))
        array = np.select([away < 4.2, away < 13], [2, 1], 0).astype(np.uint16)
        affine = np.array([[2.0, 0, 0, -30], [0, 2, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]])
        write_label_map(source / "labels" / f"k{number}.nii.gz", Volume(array, affine))
        write_image(source / "images" / f"k{number}.nii.gz", Volume(array / 2, affine))
    content = {"source": str(source), "scheme": {"shell": 1, "core": 2}, "grid": grid}
    content["intensity"] = {"window": [0, 1]}
    return prepare(DataSettings.model_validate(content), root / f"on-{grid.shape[0]}")


def _built(root: Path, chain: Chain) -> tuple[Conditions, Cases]:
    cases, whole = _prepared(root, CROP), _prepared(root, WHOLE)
    build_conditions(
        ConditionSettings(chains=(chain,)),
        cases.cases,
        folder=root / "conditions",
        scheme=SCHEME,
        n=4,
        seed=5,
        roles={},
        whole=whole.cases,
        compute=IN_PROCESS,
    )
    return Conditions(root / "conditions"), cases


def test_a_volume_is_brought_onto_a_crop_as_prepare_does(tmp_path: Path) -> None:
    for one, whole in zip(_prepared(tmp_path, CROP), _prepared(tmp_path, WHOLE), strict=True):
        assert one.label is not None
        assert whole.label is not None
        label, image = read_label_map(one.label, case_id=""), read_image(one.image, case_id="")
        large = read_label_map(whole.label, case_id=""), read_image(whole.image, case_id="")
        placed = onto(large[0], label, is_label=True)
        assert (placed.array == label.array).mean() > 0.999
        seen = onto(large[1], image, is_label=False)
        np.testing.assert_allclose(seen.array, image.array, atol=1e-4)


def test_what_is_grown_on_whole_heads_lies_on_the_grid_of_the_data(tmp_path: Path) -> None:
    shown = Modalities(channels=("label_map", "image"))
    made, cases = _built(tmp_path, Chain(steps=(GROW, shown)))
    volumes = []
    for row, condition in zip(made.rows, made, strict=True):
        assert condition.label_map.shape == CROP.shape
        source = next(case for case in cases if case.case_id == row.source_case_ids[0])
        assert source.label is not None
        affine = read_label_map(source.label, case_id="").affine
        np.testing.assert_allclose(condition.label_map.affine, affine)
        image, label = condition.channels["image"].array, condition.label_map.array
        assert (np.rint(2 * image) == label).mean() > 0.97
        asked = row.steps[0].parameters["goals"][0]["volume_mm3"]
        volumes.append((row.columns["volume_core_mm3"], asked))
    for reached, asked in volumes:  # larger voxels cut the corners of a small ball
        assert reached == pytest.approx(asked, rel=0.25)
    assert replay(tmp_path / "conditions", "c000002") == []


@pytest.mark.parametrize("arm", [Deformed(), LabelToImage()])
def test_arms_take_their_images_there(tmp_path: Path, arm: Deformed | LabelToImage) -> None:
    _, cases = _built(tmp_path, Chain(steps=(GROW,)))
    arm.make(Sources(cases.cases, SCHEME, 4, tmp_path / "conditions"), out=tmp_path / "out")
    assert check_cohort(tmp_path / "out") == []
    for row in read_manifest(tmp_path / "out").to_dict("records"):
        image = read_image(tmp_path / "out" / row["image"], case_id="").array
        label = read_label_map(tmp_path / "out" / row["label"], case_id="").array
        assert image.shape == CROP.shape
        if isinstance(arm, Deformed):
            assert (np.rint(2 * image) == label).mean() > 0.97


def test_an_image_may_be_made_into_classes_before_it_moves(tmp_path: Path) -> None:
    made, _ = _built(tmp_path, Chain(steps=(GROW,)))
    classes = workshop_in(tmp_path / "conditions").follow(
        made.rows[0],
        lambda image: Volume(np.rint(2 * image.array).astype(np.int64), image.affine),
        classes=True,
    )
    assert set(np.unique(classes.array)) == {0, 1, 2}
    assert (classes.array == made[0].label_map.array).mean() > 0.98


def test_a_case_that_is_not_on_the_larger_grid_is_refused(tmp_path: Path) -> None:
    cases, whole = _prepared(tmp_path, CROP), _prepared(tmp_path, WHOLE)
    with pytest.raises(DataError, match="case k1 and 0 more are not among the 1 cases on the"):
        build_conditions(
            ConditionSettings(chains=(Chain(steps=(GROW,)),)),
            cases.cases,
            folder=tmp_path / "conditions",
            scheme=SCHEME,
            n=2,
            seed=0,
            roles={},
            whole=whole.cases[:1],
            compute=IN_PROCESS,
        )
