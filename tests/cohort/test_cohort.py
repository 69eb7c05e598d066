"""A cohort as cases: files, hashes, parents and facts, whatever made it."""

from pathlib import Path

import numpy as np
import pytest
from made_up_study import BOX, SPLITS, edit_rows, write_box_cohort

from vcmaug.cohort.cohort import Cohort
from vcmaug.data.cases import Case
from vcmaug.errors import CohortError, LeakError
from vcmaug.files import sha256_of_file


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort.open(write_box_cohort(tmp_path, ("s0", "s1")))


def test_a_cohort_is_its_finished_cases(cohort: Cohort) -> None:
    assert len(cohort) == 3
    edit_rows(cohort.folder, status="failed")
    opened = Cohort.open(cohort.folder)
    assert [case.case_id for case in opened] == ["synthetic-0", "synthetic-1"]
    assert (len(opened.rows), len(opened.manifest)) == (3, 3)


def test_hashes_are_the_manifest_s_and_nothing_is_read(cohort: Cohort, monkeypatch) -> None:
    expected = [{n: sha256_of_file(p) for n, p in case.files.items()} for case in cohort]
    monkeypatch.setattr("vcmaug.data.case.sha256_of_file", None)
    assert [case.hashes for case in cohort] == expected


def test_parents_are_source_columns_and_stand_in_the_row(cohort: Cohort) -> None:
    first: Case = cohort[0]
    assert first.source == {"source_case_ids": "k0", "source_subject_ids": "s0"}
    assert cohort.row_of(cohort[1]).source_subject_ids == ("s1",)


def test_scheme_grid_and_volumes_are_those_of_the_card(cohort: Cohort) -> None:
    assert (cohort.scheme, cohort.grid.shape) == (BOX, (12, 12, 12))
    volumes = cohort.read()
    assert volumes.names == ("synthetic-0", "synthetic-1", "synthetic-2")
    assert set(np.unique(volumes.labels)) == {0, 3}
    assert cohort.card.seen.subjects == {*SPLITS.train}


def test_some_cases_are_a_cohort_too(cohort: Cohort) -> None:
    some = cohort.of(["synthetic-2"])
    assert isinstance(some, Cohort)
    assert some.row_of(some[0]).request_id == "r2"


def test_made_cases_have_no_role_of_their_own(cohort: Cohort) -> None:
    with pytest.raises(LeakError, match="inherits the roles of all its parents"):
        cohort.split(test=1)


def test_a_folder_without_a_card_is_no_finished_cohort(cohort: Cohort) -> None:
    (cohort.folder / "cohort.json").unlink()
    with pytest.raises(CohortError, match=r"no cohort\.json"):
        Cohort.open(cohort.folder)
