"""Ids, subjects and columns as lists, tables and patterns name them."""

import json
import re
from pathlib import Path

import pytest

from vcmaug.config import parse_settings
from vcmaug.data.case import Case
from vcmaug.data.reader import Reader
from vcmaug.data.readers.bids import BIDS
from vcmaug.data.readers.datalist import Datalist
from vcmaug.data.readers.folder import Folder
from vcmaug.data.readers.nnunet import NNUNet
from vcmaug.data.readers.table import Table
from vcmaug.data.subjects import people_faults
from vcmaug.errors import RecipeError


def _cases(reader: Reader, path: Path) -> list[Case]:
    faults: list[str] = []
    cases = reader.cases(path, faults)
    assert faults == []
    return cases


def _faults(reader: Reader, path: Path) -> list[str]:
    faults: list[str] = []
    reader.cases(path, faults)
    return [fault.replace(str(path), "FILE") for fault in faults]


def _write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        _write(folder / name, "")
    return folder


def test_a_subject_called_0_is_one_person(tmp_path: Path) -> None:
    entries = [{"image": f"k{n}.nii.gz", "subject_id": 0, "case_id": n} for n in range(3)]
    cases = _cases(Datalist(), _write(tmp_path / "d.json", {"training": entries}))
    assert {case.subject_id for case in cases} == {"0"}
    assert [case.case_id for case in cases] == ["0", "1", "2"]


def test_numbers_that_name_one_person_are_one_and_nan_names_nobody(tmp_path: Path) -> None:
    entries = [{"image": f"{n}.nii", "subject_id": n} for n in (7, 7.0)]
    cases = _cases(Datalist(), _write(tmp_path / "d.json", entries))
    assert [case.subject_id for case in cases] == ["7", "7"]
    entries = [{"image": f"{n}.nii", "subject_id": float("nan")} for n in "ab"]
    cases = _cases(Datalist(), _write(tmp_path / "d.json", entries))
    assert [case.subject_id for case in cases] == ["a", "b"]


@pytest.mark.parametrize("content", [{"training": []}, {"test": ["x.nii.gz"]}, {}, []])
def test_a_datalist_may_hold_no_case(tmp_path: Path, content: object) -> None:
    assert _cases(Datalist(), _write(tmp_path / "d.json", content)) == []


def test_a_bare_list_and_lists_of_one_are_read(tmp_path: Path) -> None:
    entries = [{"image": ["a.nii.gz", "b.nii.gz"], "label": ["l.nii.gz"], "fold": 1, "age": 3}]
    (case,) = _cases(Datalist(), _write(tmp_path / "d.json", entries))
    assert (case.case_id, case.label) == ("a", tmp_path / "l.nii.gz")
    assert case.images == {"image": tmp_path / "a.nii.gz", "1": tmp_path / "b.nii.gz"}
    assert case.source == {"age": 3}
    (bare,) = _cases(Datalist(), _write(tmp_path / "d.json", [{"image": "a.nii", "label": None}]))
    assert bare.label is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([{"image": "a.nii", "label": 3}], "FILE, entry 0: label: .*string.*found 3"),
        ([{"image": "a.nii", "label": ["b", "c"]}], "FILE, entry 0: label: .*string.*'b', 'c'"),
        ([{"image": 3}], "FILE, entry 0: image: .*found 3"),
        ([{"image": {"t1": "a"}}], "FILE, entry 0: image: .*list"),
        ([{"image": ["a", 3]}], "FILE, entry 0: image.1: .*found 3"),
        ([{"image": "a.nii", "subject_id": ["p"]}], "FILE, entry 0: subject_id: .*string"),
        ([{"image": "a.nii", "case_id": True}], "FILE, entry 0: case_id: .*string"),
        ([{"label": "a.nii"}], "FILE, entry 0: no image"),
        ([{"image": []}], "FILE, entry 0: no image"),
        (["a.nii"], "FILE: training.0: .*expected"),
        ({"training": 3}, "FILE: training: .*expected"),
        ({"training": {"image": "a"}}, "FILE: training: .*expected"),
        ("3", "FILE: .*expected"),
        ("null", "FILE: .*expected"),
    ],
)
def test_an_entry_that_cannot_be_used_is_a_fault(
    tmp_path: Path, content: object, named: str
) -> None:
    (fault,) = _faults(Datalist(), _write(tmp_path / "d.json", content))
    assert re.match(named, fault), fault


def test_entries_that_can_be_used_are_read_beside_others(tmp_path: Path) -> None:
    path = _write(tmp_path / "d.json", [{"image": "a.nii", "label": 3}, {"image": "b.nii"}])
    faults: list[str] = []
    assert [case.case_id for case in Datalist().cases(path, faults)] == ["b"]
    assert len(faults) == 1


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "007", "0", "1e3"])
def test_ids_of_a_table_are_text(tmp_path: Path, word: str) -> None:
    text = f"case_id,subject_id,image,label\n{word},{word},a.nii,\nb,p,b.nii,{word}\n"
    first, second = _cases(Table(), _write(tmp_path / "t.csv", text))
    assert (first.case_id, first.subject_id, first.label) == (word, word, None)
    assert second.label == tmp_path / word


def test_further_images_and_free_columns_come_along(tmp_path: Path) -> None:
    text = "Case_ID,Image,Image_T2,image_dwi,Age,Label\na,a.nii,t2.nii,,40,l.nii\n"
    (case,) = _cases(Table(), _write(tmp_path / "t.csv", text))
    assert case.images == {"image": tmp_path / "a.nii", "T2": tmp_path / "t2.nii"}
    assert (case.label, case.source) == (tmp_path / "l.nii", {"Age": "40"})


def test_a_blank_subject_beside_others_is_a_fault(tmp_path: Path) -> None:
    text = "case_id,Subject_ID,image\na,p,a.nii\nb,,b.nii\nc, ,c.nii\n"
    path = _write(tmp_path / "t.csv", text)
    blank = "no subject_id, and other cases have one, expected all or none; fill it in"
    assert _faults(Table(), path) == [f"FILE, line 3: {blank}", f"FILE, line 4: {blank}"]
    entries = [{"image": "a.nii", "subject_id": "p"}, {"image": "b.nii"}]
    found = _faults(Datalist(), _write(tmp_path / "d.json", entries))
    assert found == [f"FILE, entry 1: {blank}"]
    _touch(tmp_path, "images/a.nii.gz", "images/b.nii.gz")
    _write(tmp_path / "p.csv", "case_id,subject_id\na,p\nb,\n")
    assert _faults(Folder(table="p.csv"), tmp_path) == [f"FILE/p.csv, line 3: {blank}"]


def test_without_any_subject_the_pattern_or_the_case_says_it(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "case_id,subject_id,image\np1_a,,a.nii\np1_b,,b.nii\n")
    assert [case.subject_id for case in _cases(Table(), path)] == ["p1_a", "p1_b"]
    found = _cases(Table(subject="^(p[0-9]+)_"), path)
    assert [case.subject_id for case in found] == ["p1", "p1"]


def test_a_pattern_that_finds_no_subject_is_a_fault_for_every_case(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "case_id,image\np1_a,a.nii\nP2_b,b.nii\nx,c.nii\n")
    advice = "finds no subject in it, expected one; correct the pattern or the id"
    assert _faults(Table(subject="^(p[0-9]+)_|x"), path) == [
        f"case P2_b: the pattern '^(p[0-9]+)_|x' {advice}",
        f"case x: the pattern '^(p[0-9]+)_|x' {advice}",
    ]


@pytest.mark.parametrize(
    ("name", "setting", "value", "named"),
    [
        ("table", "subject", "^p[0-9]+", "with a group for the subject"),
        ("nnunet", "subject", "^(p", "no regular expression"),
        ("folder", "images", "images/*.nii.gz", r"with \{case\} in it"),
        ("folder", "labels", "", r"with \{case\} in it"),
        ("folder", "images", "/data/{case}.nii.gz", r"a path in the folder with \{case\}"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_recipe(
    name: str, setting: str, value: str, named: str
) -> None:
    with pytest.raises(RecipeError, match=named):
        parse_settings(Reader, {"name": name, setting: value}, source="a recipe")


def test_a_folder_per_case_is_read(tmp_path: Path) -> None:
    _touch(tmp_path, "a/a_t1.nii.gz", "a/a_seg.nii.gz", "b/b_t1.nii.gz", "c/a_t1.nii.gz")
    layout = Folder(images="{case}/{case}_t1.nii.gz", labels="{case}/{case}_seg.nii.gz")
    first, second = _cases(layout, tmp_path)
    assert (first.case_id, first.label) == ("a", tmp_path / "a" / "a_seg.nii.gz")
    assert (second.case_id, second.label) == ("b", None)


@pytest.mark.parametrize("column", ["patient_id", "PatientID", "subject", "Participant Id", "pid"])
def test_a_column_of_people_under_another_name_is_refused(tmp_path: Path, column: str) -> None:
    path = _write(tmp_path / "t.csv", f"case_id,image,{column}\na,a.nii,p\nb,b.nii,p\n")
    (fault,) = people_faults(_cases(Table(), path))
    assert fault.startswith(f"column {column!r} names a person twice")
    path = _write(tmp_path / "t.csv", f"case_id,image,{column}\na,a.nii,p\nb,b.nii,q\nc,c.nii,\n")
    assert people_faults(_cases(Table(), path)) == []
    text = f"case_id,image,{column},subject_id\na,a.nii,p,p\nb,b.nii,p,p\n"
    assert people_faults(_cases(Table(), _write(tmp_path / "t.csv", text))) == []
    assert people_faults(_cases(Table(subject="(.)"), path)) == []


@pytest.mark.parametrize("pair", [("01", "1"), ("sub-1", "1"), ("1.0", "1")])
def test_one_person_is_written_in_one_way(tmp_path: Path, pair: tuple[str, str]) -> None:
    text = f"case_id,image,subject_id\na,a.nii,{pair[0]}\nb,b.nii,{pair[1]}\nc,c.nii,2\n"
    (fault,) = people_faults(_cases(Table(), _write(tmp_path / "t.csv", text)))
    assert fault.startswith(f"subjects {', '.join(sorted(pair))}: they differ in `sub-`")


def test_one_image_is_of_one_subject(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.csv", "case_id,image,subject_id\na,a.nii,p\nb,a.nii,q\n")
    (fault,) = people_faults(_cases(Table(), path))
    place = tmp_path / "a.nii"
    assert fault == f"{place}: the image of the subjects p, q, expected one; correct subject_id"
    path = _write(tmp_path / "t.csv", "case_id,image,subject_id\na,a.nii,p\nb,a.nii,p\n")
    assert people_faults(_cases(Table(), path)) == []


def test_accents_are_the_same_in_both_of_their_forms(tmp_path: Path) -> None:
    composed, split = "M\u00fcller", "Mu\u0308ller"
    text = f"case_id,image,subject_id\na,a.nii,{composed}\nb,b.nii,{split}\n"
    cases = _cases(Table(), _write(tmp_path / "t.csv", text))
    assert {case.subject_id for case in cases} == {composed}
    _touch(tmp_path, f"images/{split}.nii.gz")
    _write(tmp_path / "p.csv", f"case_id,age\n{composed},40\n")
    (case,) = _cases(Folder(table="p.csv", subject="(.*)"), tmp_path)
    assert (case.subject_id, case.source) == (composed, {"age": "40"})


def test_numeric_keys_of_a_table_keep_their_zeros(tmp_path: Path) -> None:
    _touch(tmp_path, "images/001.nii.gz", "images/010.nii.gz")
    for ids in (("001", "010"), ("1", "10")):  # as Excel leaves them
        _write(tmp_path / "p.csv", f"id;age\n{ids[0]};40\n{ids[1]};50\n")
        found = _cases(Folder(table="p.csv", table_key="id"), tmp_path)
        assert [(case.case_id, case.source) for case in found] == [
            ("001", {"age": "40"}),
            ("010", {"age": "50"}),
        ]


def _bids(folder: Path, subjects: tuple[str, ...], table: str) -> Path:
    _write(folder / "participants.tsv", table.replace(" ", "\t"))
    return _touch(folder, *(f"{name}/anat/{name}_T1w.nii.gz" for name in subjects))


@pytest.mark.parametrize("said", ["sub-01", "01", "1", "sub-1", "SUB-01", "Sub-001", "1.0"])
def test_participants_are_matched_where_one_can_be_meant(tmp_path: Path, said: str) -> None:
    root = _bids(tmp_path, ("sub-01", "sub-02"), f"participant_id age\n{said} 40\nsub-02 50\n")
    assert [case.source for case in _cases(BIDS(), root)] == [{"age": "40"}, {"age": "50"}]


def test_ids_with_a_blank_are_matched(tmp_path: Path) -> None:
    root = _bids(tmp_path, ("sub-01",), "")
    _write(root / "participants.tsv", "participant_id\tage\nsub-01 \t40\n")
    assert [case.source for case in _cases(BIDS(), root)] == [{"age": "40"}]


@pytest.mark.parametrize(
    ("subjects", "ids", "lacking"),
    [
        (("sub-01", "sub-02"), ("sub-01",), ["sub-02"]),
        (("sub-01", "sub-1"), ("01",), ["sub-01", "sub-1"]),
        (("sub-01", "sub-1"), ("sub-01",), ["sub-1"]),
        (("sub-01",), ("1", "001"), ["sub-01"]),
        (("sub-01", "sub-02"), (), ["sub-01", "sub-02"]),
    ],
)
def test_a_subject_without_a_row_is_a_fault(
    tmp_path: Path, subjects: tuple[str, ...], ids: tuple[str, ...], lacking: list[str]
) -> None:
    root = _bids(tmp_path, subjects, "participant_id age\n" + "".join(f"{i} 4\n" for i in ids))
    table = root / "participants.tsv"
    faults: list[str] = []
    BIDS().cases(root, faults)
    like = f", whose ids are such as {', '.join(ids)}" if ids else ""
    advice = ", expected a row; add one, n/a where nothing is known"
    assert faults == [f"subject {name}: not in {table}{like}{advice}" for name in lacking]


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("subject age\nsub-01 4\n", "no column 'participant_id'"),
        ("participant_id age\nsub-01 4\nsub-01 5\n", "line 3: the id stands twice"),
        ("participant_id age\nsub-01 4\n\t5\n", "line 3: no participant_id"),
        ("participant_id age age\nsub-01 4 5\n", "column 'age' stands 2 times"),
        ("participant_id age\nsub-01 4 5\n", "line 2: 3 cells, expected 2"),
    ],
)
def test_a_bad_table_of_participants_is_named(tmp_path: Path, table: str, named: str) -> None:
    root = _bids(tmp_path, ("sub-01",), table)
    faults: list[str] = []
    BIDS().cases(root, faults)
    assert named in faults[0]
    assert len([fault for fault in faults if "participants.tsv" in fault]) == len(faults)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"channel_names": {"T1": 0}}, "channel_names.T1"),
        ({"channel_names": ["T1"]}, "channel_names: .*dict"),
        ({"numTraining": "many"}, "numTraining: .*integer"),
        ([], "expected such as"),
    ],
)
def test_a_description_that_cannot_be_read_is_a_fault(
    tmp_path: Path, content: object, named: str
) -> None:
    _touch(tmp_path, "imagesTr/a_0000.nii.gz")
    path = _write(tmp_path / "dataset.json", content)
    faults: list[str] = []
    NNUNet().cases(tmp_path, faults)
    (fault,) = faults
    assert fault.startswith(str(path))
    assert re.search(named, fault), fault
