"""Layouts on disk as people have them: links, several runs, channels, hidden files, odd names."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from vcmaug.data.case import Case
from vcmaug.data.prepare import find_cases
from vcmaug.data.source import DataSettings
from vcmaug.errors import WorkFolderError


def _read(source: Path, **more: object) -> tuple[list[Case], list[str]]:
    """Return the cases and the faults of a source; no volume is read."""
    content = {"source": str(source), "scheme": {"a": 1}, "grid": {"shape": (8, 8, 8)}, **more}
    faults: list[str] = []
    return find_cases(DataSettings.model_validate(content), faults), faults


def _touch(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _nnunet(root: Path, channels: dict[str, str], images: Sequence[str]) -> Path:
    _touch(root, [f"imagesTr/{name}.nii.gz" for name in images])
    (root / "dataset.json").write_text(json.dumps({"channel_names": channels}))
    return root


# names


@pytest.mark.parametrize(
    ("case_id", "told"),
    [
        ("../../escaped", "it holds a path separator"),
        ("p1/s1", "it holds a path separator"),
        ("p1\\s1", "it holds a path separator"),
        ("..", "it begins with a dot"),
        (".hidden", "it begins with a dot"),
        ("x" * 201, "it has 201 bytes, the most are 200"),
        ("ä" * 101, "it has 202 bytes, the most are 200"),
        ("a\x01b", "it holds a control character"),
    ],
)
def test_ids_that_cannot_name_files_are_faults(tmp_path: Path, case_id: str, told: str) -> None:
    table = tmp_path / "t.csv"
    pd.DataFrame([{"case_id": case_id, "image": "a.nii.gz"}]).to_csv(table, index=False)
    _, faults = _read(table)
    advice = "expected the name of a file; rename it"
    assert f"case id {case_id!r}, {tmp_path / 'a.nii.gz'}: {told}, {advice}" in faults


def test_ids_that_differ_in_capitals_alone_are_faults(tmp_path: Path) -> None:
    root = _touch(tmp_path, [f"images/{name}.nii.gz" for name in ("K1", "k1", "e\u0301", "é")])
    _, faults = _read(root)
    place = root / "images" / "K1.nii.gz"
    assert faults[0].startswith(f"case id 'K1' and 'k1', {place}: the same but for capitals")
    assert len(faults) == 2


def test_names_as_people_write_them_are_none(tmp_path: Path) -> None:
    names = ["sub 01", "a.b", "k(1)", "k[2]", "脳", "Größe", "x" * 200, "a..b", "-1", "日 本"]
    rows = [{"case_id": name, "image": f"{n}.nii.gz"} for n, name in enumerate(names)]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    cases, faults = _read(tmp_path / "t.csv")
    assert [case.case_id for case in cases] == names
    assert faults == []


def test_a_file_name_that_is_not_utf_8_is_a_fault(tmp_path: Path) -> None:
    _touch(tmp_path, ["images/a.nii.gz"])
    (tmp_path / os.fsdecode(b"images/k\xff.nii.gz")).touch()
    _, faults = _read(tmp_path)
    (fault,) = faults
    assert fault.startswith(r"case id 'k\udcff', ")
    assert r"k\udcff.nii.gz: it is not UTF-8, expected the name of a file; rename it" in fault


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("image_DWI/ADC", "image name 'DWI/ADC', .*: it holds a path separator, expected"),
        ("image_label", "image name 'label', .*: the name of label maps; expected another"),
        ("image_image", "case k: a further image called 'image', as the first one is"),
        ("image_", "image name '', .*: it is empty, expected"),
    ],
)
def test_columns_that_cannot_name_images_are_faults(tmp_path: Path, column: str, told: str) -> None:
    table = tmp_path / "t.csv"
    pd.DataFrame([{"case_id": "k", "image": "a.nii.gz", column: "b.nii.gz"}]).to_csv(
        table, index=False
    )
    _, faults = _read(table)
    assert any(re.match(told, one) for one in faults), faults


# a plain folder


def test_hidden_files_and_folders_are_no_cases(tmp_path: Path) -> None:
    _touch(tmp_path, ["images/k.nii.gz", "images/._k.nii.gz", "images/.x.nii.gz"])
    cases, faults = _read(tmp_path)
    assert ([case.case_id for case in cases], faults) == (["k"], [])
    names = ["scans/k/k_t1.nii.gz", "scans/.git/.git_t1.nii.gz", "scans/k/._k_t1.nii.gz"]
    layout = {"name": "folder", "images": "scans/{case}/{case}_t1.nii.gz"}
    cases, faults = _read(_touch(tmp_path / "b", names), format=layout)
    assert ([case.case_id for case in cases], faults) == (["k"], [])


def test_brackets_in_a_pattern_are_meant_as_they_stand(tmp_path: Path) -> None:
    layout = {"name": "folder", "images": "t1 [raw]/{case}.nii.gz"}
    cases, faults = _read(_touch(tmp_path, ["t1 [raw]/k.nii.gz"]), format=layout)
    assert ([case.case_id for case in cases], faults) == (["k"], [])


@pytest.mark.parametrize(("asked", "other"), [(".nii.gz", ".nii"), (".nii", ".nii.gz")])
def test_a_file_that_only_its_compression_keeps_out_is_a_fault(
    tmp_path: Path, asked: str, other: str
) -> None:
    root = _touch(tmp_path, [f"images/k{asked}", f"images/m{other}", f"images/k{other}"])
    pattern = f"images/{{case}}{asked}"
    cases, faults = _read(root, format={"name": "folder", "images": pattern})
    assert [case.case_id for case in cases] == ["k"]
    (fault,) = faults
    assert fault.startswith(
        f"case m, {root / 'images' / f'm{other}'}: not read, expected {pattern}"
    )


# nnU-Net


@pytest.mark.parametrize(
    ("channels", "told"),
    [
        ({"0": "noNorm", "1": "CT", "2": "CT"}, "2 channels called 'CT', expected names that diff"),
        ({"0": "T1", "1": "image"}, "2 channels called 'image', expected names that differ"),
        ({"1": "T1", "2": "T2"}, r"channels [1, 2], expected 0"),
    ],
)
def test_channels_by_which_an_image_would_be_lost_are_faults(
    tmp_path: Path, channels: dict[str, str], told: str
) -> None:
    _, faults = _read(_nnunet(tmp_path, channels, ["k_0000", "k_0001", "k_0002"]))
    assert any(one.startswith(f"{tmp_path / 'dataset.json'}: {told}") for one in faults), faults


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("list.json", '{"training": [{"image": "a.nii"}], "training": []}', "training"),
        ("list.json", '{"training": [{"image": "a.nii", "image": "b.nii"}]}', "image"),
        ("dataset.json", '{"channel_names": {"0": "T1", "0": "T2"}}', "0"),
    ],
)
def test_a_key_that_stands_twice_in_json_is_refused_with_its_file(
    tmp_path: Path, name: str, content: str, key: str
) -> None:
    """Of the two, JSON in Python keeps the last without a word."""
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / name).write_text(content)
    source = tmp_path if name == "dataset.json" else tmp_path / name
    with pytest.raises(WorkFolderError, match=rf"{name}: .*the key '{key}' stands 2 times"):
        _read(source)


def test_a_channel_name_with_a_separator_is_a_fault(tmp_path: Path) -> None:
    _, faults = _read(_nnunet(tmp_path, {"0": "T2", "1": "DWI/ADC"}, ["k_0000", "k_0001"]))
    (fault,) = faults
    assert fault.startswith("image name 'DWI/ADC', ")
    assert "k_0001.nii.gz: it holds a path separator, expected" in fault


def test_images_of_channels_that_are_not_named_are_faults(tmp_path: Path) -> None:
    images = ["k_0000", "k_0001", "l_0001", "m_0000", "m_0001", "m_0002", "._k_0003"]
    cases, faults = _read(_nnunet(tmp_path, {"0": "T1", "1": "T2"}, images))
    assert [case.case_id for case in cases] == ["k", "m"]
    place = tmp_path / "imagesTr"
    assert faults == [
        f"case m, {place / 'm_0002.nii.gz'}: channel 2 is not among those of dataset.json, [0, 1]; "
        "name it there or move the file away",
        f"case l, {place / 'l_0001.nii.gz'}: no image of channel 0 is beside it",
    ]


# BIDS


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    store = _touch(tmp_path / "store", ["anat3/sub-03_T1w.nii.gz", "seg/sub-03_dseg.nii.gz"])
    root = _touch(tmp_path / "bids", ["sub-01/anat/sub-01_T1w.nii.gz", "dataset_description.json"])
    (root / "sub-03").mkdir()
    (root / "sub-03" / "anat").symlink_to(store / "anat3")
    (root / "sub-01" / "again").symlink_to(root / "sub-01")  # a circle
    (root / "derivatives").mkdir()
    (root / "derivatives" / "seg").symlink_to(store / "seg")
    cases, faults = _read(root, require_labels=False)
    assert [(case.case_id, case.label is not None) for case in cases] == [
        ("sub-01", False), ("sub-03", True),
    ]  # fmt: skip
    assert faults == []


def test_a_subject_without_an_image_is_a_fault_unless_left_out(tmp_path: Path) -> None:
    names = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T2w.nii.gz"]
    names += ["sub-03/func/x.nii.gz", "derivatives/sub-03_dseg.nii.gz"]
    root = _touch(tmp_path, names)
    _, faults = _read(root)
    assert faults[0].startswith(
        f"subject sub-02, {root / 'sub-02'}: no image, expected one named *_T1w.nii.gz; add it, or "
    )
    assert faults[1].startswith(f"subject sub-03, {root / 'sub-03'}: no image")
    assert faults[2].startswith("case sub-03, ")
    assert "sub-03_dseg.nii.gz: a label map without an image, expected one" in faults[2]
    cases, faults = _read(root, format={"name": "bids", "leave_out": ["sub-02", "03"]})
    assert ([case.case_id for case in cases], faults) == (["sub-01"], [])


def test_one_of_several_runs_and_spaces_is_chosen(tmp_path: Path) -> None:
    stems = ("run-01_T1w", "run-02_T1w", "acq-fast_run-02_T1w")
    names = [f"sub-01/anat/sub-01_{stem}.nii.gz" for stem in stems]
    names += [f"derivatives/seg/sub-01_space-{space}_dseg.nii.gz" for space in ("T1w", "MNI")]
    root = _touch(tmp_path, names)
    _, faults = _read(root)
    assert len(faults) == 2
    assert "case sub-01: found 3 images" in faults[0]
    assert "choose one, such as format: {name: bids, image_entities: {acq: fast}}" in faults[0]
    assert "choose one, such as format: {name: bids, label_entities: {space: MNI}}" in faults[1]
    layout = {
        "name": "bids",
        "image_entities": {"run": 2, "acq": None},
        "label_entities": {"space": "T1w"},
    }
    cases, faults = _read(root, format=layout)
    assert faults == []
    assert cases[0].image.name == "sub-01_run-02_T1w.nii.gz"
    assert cases[0].label is not None
    assert cases[0].label.name == "sub-01_space-T1w_dseg.nii.gz"
    _, faults = _read(root, format={"name": "bids", "image_entities": {"run": 9}})
    assert any("expected one named *_T1w.nii.gz with run: 9; add it" in one for one in faults)
