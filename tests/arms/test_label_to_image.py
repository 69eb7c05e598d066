"""Painted cases: grey values per class, the condition's own label map, and one seed one image."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray

from vcmaug.arms.base import Sources
from vcmaug.arms.label_to_image import LabelToImage
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.errors import CohortError

PLAIN = LabelToImage(deviation=(0, 0), blur_mm=0, bias=0, log_gamma=0, slice_mm=0.1)


def painted(classes: NDArray[np.int64], seed: int, **settings: object) -> NDArray[np.float32]:
    asked = PLAIN.model_copy(update=settings)
    return asked.image_of_labels(classes, spacing_mm=(2.0, 2.0, 2.0), seed=seed)


def classes() -> NDArray[np.int64]:
    return tiny.label_map_of(radius=6.0).array.astype(np.int64)


def test_without_noise_a_class_has_one_grey_value_and_classes_differ() -> None:
    for seed in range(5):
        image = painted(classes(), seed)
        values = [np.unique(image[classes() == k].round(5)) for k in range(3)]
        assert [len(found) for found in values] == [1, 1, 1]
        assert len({float(found[0]) for found in values}) == 3
        assert image.min() == 0.0
        assert image.max() == 1.0


def test_a_class_spreads_as_far_as_its_deviation() -> None:
    """Half of the grid is one class: its spread in units of the range between the quantiles."""
    half = np.zeros((32, 32, 32), dtype=np.int64)
    half[:, :, 16:] = 1
    image = painted(half, 3, mean=(0.5, 0.5), deviation=(0.1, 0.1))
    inside = image[(image > 0) & (image < 1)]
    assert inside.std() == pytest.approx(1 / (2 * 2.576), rel=0.1)  # 0.5 to 99.5 % is 0 to 1


def test_every_seed_paints_another_image_and_the_same_one_again() -> None:
    settings = LabelToImage()
    spacing_mm = (2.0, 2.0, 2.0)
    images = [
        settings.image_of_labels(classes(), spacing_mm=spacing_mm, seed=seed) for seed in (0, 0, 1)
    ]
    assert np.array_equal(images[0], images[1])
    assert not np.allclose(images[0], images[2])
    assert all(0 <= image.min() < image.max() <= 1 for image in images)


def test_the_label_of_a_case_is_the_condition_byte_by_byte(tmp_path: Path) -> None:
    folder = tiny.make_tiny_conditions(tmp_path / "conditions", n=3)
    cases = tiny.make_tiny_cases(folder / "sources")
    LabelToImage().make(Sources(cases, tiny.SCHEME, 5, folder), out=tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert check_cohort(tmp_path / "out") == []
    maps = [path.read_bytes() for path in sorted((folder / "maps").iterdir())]
    for row in manifest.to_dict("records"):
        assert (tmp_path / "out" / row["label"]).read_bytes() == maps[row["index"] % 3]
    assert manifest["image_sha256"].is_unique


def test_a_condition_of_other_cases_is_refused(tmp_path: Path) -> None:
    folder = tiny.make_tiny_conditions(tmp_path / "conditions", n=2)
    cases = tiny.make_tiny_cases(folder / "sources")[1:]
    with pytest.raises(CohortError, match="its source is not among the 1 labelled cases"):
        LabelToImage().make(Sources(cases, tiny.SCHEME, 1, folder), out=tmp_path / "out")
