"""The pool with guessed labels, as a cohort."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import SCHEME, make_tiny_cases

from vcmaug.arms.self_training import pseudo_cases, pseudo_label
from vcmaug.cohort.card import CohortCard
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.data.case import Case, Measured
from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.seen import Seen
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_file


def teacher(images: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return what is bright as a structure, and what is brightest as the other."""
    return np.digitize(images, [0.25, 0.75]).astype(np.uint16)


@pytest.fixture
def pool(tmp_path: Path) -> tuple[Case, ...]:
    """Cases whose image is half their label map, and whose label is out of sight."""
    cases = []
    for case in make_tiny_cases(tmp_path / "labels"):
        assert case.label is not None
        label = read_label_map(case.label, case_id=case.case_id)
        image = tmp_path / "images" / f"{case.case_id}.nii.gz"
        write_image(image, Volume(label.array / 2, label.affine))
        known = Measured({"core": 512.0})  # of the true label map, which is out of sight
        cases.append(
            Case(
                case.case_id,
                case.subject_id,
                {"image": image},
                source={"age": 40.0},
                measured=known,
            )
        )
    return tuple(cases)


def label(pool: tuple[Case, ...], out: Path, read=teacher) -> None:
    pseudo_label(pool, read, teacher_subjects=["t1", "t0"], scheme=SCHEME, out=out)


def test_the_cohort_holds_the_pool_s_images_with_the_teacher_s_labels(pool, tmp_path) -> None:
    label(pool, tmp_path / "out")
    assert check_cohort(tmp_path / "out") == []
    card = CohortCard.read(tmp_path / "out")
    assert card.seen.control == Seen(
        pseudo_labels=tuple(sorted(case.subject_id for case in pool)), teachers=("t0", "t1")
    )
    made = pseudo_cases(tmp_path / "out", pool)
    assert [case.subject_id for case in made] == [case.subject_id for case in pool]
    for case, original in zip(made, pool, strict=True):
        image = read_image(original.image, case_id="x").array
        assert np.array_equal(read_image(case.image, case_id="x").array, image)
        assert case.label is not None
        assert np.array_equal(read_label_map(case.label, case_id="x").array, teacher(image))
        assert (case.source, case.measured) == ({"age": 40.0}, None)
        assert case.sha256 == {name: sha256_of_file(path) for name, path in case.files.items()}


def test_a_case_without_a_structure_is_a_failed_row_with_its_reason(pool, tmp_path) -> None:
    first = read_image(pool[0].image, case_id="x").array

    def blind(images: NDArray[np.float32]) -> NDArray[np.uint16]:
        found = teacher(images)
        return np.minimum(found, 1) if np.array_equal(images[0], first) else found

    dim = Case(
        pool[1].case_id, pool[1].subject_id, {"image": pool[1].image.with_name("dim.nii.gz")}
    )
    write_image(dim.image, Volume(first * 0.9, np.diag([2.0, 2.0, 2.0, 1.0])))
    label((pool[0], dim), tmp_path / "out", blind)
    rows = read_manifest(tmp_path / "out")
    assert list(rows["status"]) == ["failed", "done"]
    assert rows["reason"][0] == "the teacher finds no core"
    assert list(rows["source_subject_ids"][0]) == [pool[0].subject_id]
    assert len(pseudo_cases(tmp_path / "out", (pool[0], dim))) == 1


def test_no_pool_and_a_blind_teacher_are_refused(pool, tmp_path) -> None:
    with pytest.raises(DataError, match="there is no unlabelled set"):
        label((), tmp_path / "a")
    with pytest.raises(DataError, match="misses a structure in every one"):
        label(pool, tmp_path / "b", lambda images: np.zeros(images.shape, dtype=np.uint16))
    assert not (tmp_path / "b" / "manifest.parquet").exists()
