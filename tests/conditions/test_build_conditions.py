"""A folder of conditions: the same anywhere, resumable, and closed to test subjects."""

from dataclasses import replace

import pandas as pd
import pytest
import tiny

from vcmaug.compute import Compute
from vcmaug.conditions.build import build_conditions
from vcmaug.conditions.chain import ConditionSettings
from vcmaug.conditions.table import read_conditions
from vcmaug.errors import DataError, LeakError, WorkFolderError
from vcmaug.files import locked, sha256_of_file


def built(folder, *, cases, n=5, seed=1, roles=(), compute=tiny.IN_PROCESS, settings=None, **more):
    """Build conditions of some cases and return their table."""
    build_conditions(
        settings or ConditionSettings(),
        cases,
        folder=folder,
        scheme=tiny.SCHEME,
        n=n,
        seed=seed,
        roles=dict(roles),
        compute=compute,
        **more,
    )
    return read_conditions(folder)


@pytest.fixture
def cases(tmp_path):
    """Return two labelled cases."""
    return tiny.make_tiny_cases(tmp_path / "sources")


def test_the_table_says_what_each_condition_is(cases, tmp_path):
    table = built(tmp_path / "a", cases=cases)
    assert [row.condition_id for row in table] == [f"c{k:06d}" for k in range(5)]
    assert [row.source_case_ids[0] for row in table] == ["k0", "k1", "k0", "k1", "k0"]
    for row in table:
        assert sha256_of_file(tmp_path / "a" / row.map) == row.sha256
    hashes = [row.sha256 for row in table]
    assert len(set(hashes)) == len(hashes)
    assert all(row.steps[0].checks["min_jacobian"] > 0 for row in table)
    assert list(pd.read_csv(tmp_path / "a" / "conditions.csv")["sha256"]) == hashes


def test_workers_build_the_same(cases, tmp_path):
    here = built(tmp_path / "a", cases=cases, n=20)
    there = built(tmp_path / "b", cases=cases, n=20, compute=Compute("workers", num=2))
    assert here == there


def test_a_condition_depends_on_its_index_alone(cases, tmp_path):
    few, many = built(tmp_path / "a", cases=cases, n=2), built(tmp_path / "b", cases=cases, n=4)
    assert [row.sha256 for row in few] == [row.sha256 for row in many[:2]]


def test_a_rerun_keeps_what_is_whole_and_mends_the_rest(cases, tmp_path):
    before = built(tmp_path / "a", cases=cases)
    maps = {path.name: path for path in (tmp_path / "a" / "maps").iterdir()}
    stamps = {name: path.stat().st_mtime_ns for name, path in maps.items()}
    maps["c000001.nii.gz"].write_bytes(b"damaged")
    maps["c000003.nii.gz"].unlink()
    assert built(tmp_path / "a", cases=cases) == before
    changed = {n for n, path in maps.items() if path.stat().st_mtime_ns != stamps[n]}
    assert changed == {"c000001.nii.gz", "c000003.nii.gz"}


def test_a_folder_of_other_conditions_is_refused(cases, tmp_path):
    built(tmp_path / "a", cases=cases)
    with pytest.raises(WorkFolderError, match="other sources, settings or seed"):
        built(tmp_path / "a", cases=cases, seed=2)
    with locked(tmp_path / "a", purpose="testing"), pytest.raises(WorkFolderError, match="in use"):
        built(tmp_path / "a", cases=cases)


def test_sources_are_not_written_over(cases, tmp_path):
    for folder in (tmp_path, tmp_path / "sources"):
        with pytest.raises(WorkFolderError, match=r"the output .* holds .*, which is read"):
            built(folder, cases=cases)


def test_a_corrected_subject_or_age_is_no_rerun(cases, tmp_path):
    built(tmp_path / "a", cases=cases)
    other_subject = replace(cases[0], subject_id="s7")
    other_age = replace(cases[0], source=dict(cases[0].source) | {"age": 99.0})
    other_site = replace(cases[0], source=dict(cases[0].source) | {"site": "B"})  # not taken over
    for case in (other_subject, other_age):
        with pytest.raises(WorkFolderError, match="other sources"):
            built(tmp_path / "a", cases=[case, cases[1]])
    built(tmp_path / "a", cases=[other_site, cases[1]])


def test_what_a_killed_run_left_is_removed(cases, tmp_path):
    built(tmp_path / "a", cases=cases)
    (tmp_path / "a" / "maps" / ".c000001.nii.gz.7.tmp").write_bytes(b"half")
    built(tmp_path / "a", cases=cases)
    assert list((tmp_path / "a").rglob("*.tmp")) == []


def test_a_test_subject_is_refused(cases, tmp_path):
    with pytest.raises(LeakError, match="subject s1, a source, belongs to test or validation"):
        built(tmp_path / "a", cases=cases, roles={"s0": "train", "s1": "test"})
    assert not (tmp_path / "a").exists()


def test_nothing_to_build_is_refused(cases, tmp_path):
    with pytest.raises(DataError, match="no labelled case"):
        built(tmp_path / "a", cases=())
    with pytest.raises(DataError, match="n = 0, expected at least 1"):
        built(tmp_path / "a", cases=cases, n=0)
    with pytest.raises(WorkFolderError, match="build-conditions"):
        read_conditions(tmp_path / "nowhere")
