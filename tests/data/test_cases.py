from dataclasses import replace

import numpy as np
import pytest

from vcmaug.data.cases import Cases, labelled_of
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.prepare import DataSettings, prepare
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

SHAPE = (8, 8, 8)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Six subjects, two of them without a label map."""
    folder = tmp_path_factory.mktemp("cases")
    for number in range(6):
        array = np.random.default_rng(number).random(SHAPE)
        write_image(folder / "in" / "images" / f"k{number}.nii.gz", Volume(array, np.eye(4)))
        if number < 4:
            label = Volume((array > 0.5).astype(np.uint16), np.eye(4))
            write_label_map(folder / "in" / "labels" / f"k{number}.nii.gz", label)
    content = {"source": str(folder / "in"), "scheme": {"a": 1}, "grid": {"shape": SHAPE}}
    settings = DataSettings.model_validate(content | {"require_labels": False})
    return prepare(settings, folder / "out")


def test_cases_are_chosen_by_subject_and_by_label(cases: Cases) -> None:
    assert len(cases) == 6
    assert [case.case_id for case in cases.of(["k5", "k1"])] == ["k1", "k5"]
    assert cases.labelled().subjects == ("k0", "k1", "k2", "k3")
    few = [set(cases.labelled(num, seed=3).subjects) for num in (1, 2, 4)]
    assert few[0] < few[1] < few[2] == set(cases.labelled().subjects)
    with pytest.raises(DataError, match="choosing 5 labelled subjects: there are 4"):
        cases.labelled(5)


def test_a_split_gives_every_case_one_role(cases: Cases) -> None:
    split = cases.split(test=2, validation=1, seed=0)
    assert [len(part) for part in split] == [3, 1, 2]
    assert sorted(case.case_id for part in split for case in part) == sorted(cases.subjects)


def test_unlabelled_subjects_are_for_training(cases: Cases) -> None:
    assert cases.unlabelled_subjects == ("k4", "k5")
    for seed in range(4):
        split = cases.split(test=2, validation=1, seed=seed)
        assert {"k4", "k5"} < set(split.train.subjects)
        assert len(split.train.labelled(1)) == 1
        assert len(split.test.read().names) == 2
    with pytest.raises(DataError, match="6 subjects, 4 with a label map: 3 for the test and 1"):
        cases.split(test=3, validation=1)


def test_a_subject_with_one_labelled_case_is_labelled(cases: Cases) -> None:
    one = replace(cases[4], subject_id="k0")
    assert replace(cases, cases=(*cases.cases[:4], one)).unlabelled_subjects == ()
    assert [case.case_id for case in labelled_of((*cases.cases[:4], one), ["k0"])] == ["k0"]


def test_cases_are_read_into_memory_once_they_all_have_labels(cases: Cases) -> None:
    volumes = cases.labelled().read()
    assert volumes.images.shape == volumes.labels.shape == (4, *SHAPE)
    assert (volumes.orientation, volumes.spacing_mm) == ("RAS", (1.0, 1.0, 1.0))
    assert set(np.unique(volumes.labels)) == {0, 1}
    with pytest.raises(DataError, match="k4, k5: no label map"):
        cases.read()
