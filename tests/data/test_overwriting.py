"""No verb writes over what it reads, or where somebody else writes or has written."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.prepare import DataSettings, prepare
from vcmaug.data.volume import Volume
from vcmaug.errors import WorkFolderError
from vcmaug.files import locked
from vcmaug.outputs import refuse_overlap

AFFINE = np.eye(4)
SETTINGS = {"scheme": {"a": 1}, "grid": {"shape": (8, 8, 8)}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A plain folder of two cases, and a table that names them."""
    folder = tmp_path / "d"
    for number in range(2):
        array = np.random.default_rng(number).random((8, 8, 8)).astype(np.float32)
        write_image(folder / "images" / f"c{number}.nii.gz", Volume(array, AFFINE))
        label = np.zeros((8, 8, 8), dtype=np.uint16)
        label[2:5, 2:5, 2:5] = 1
        write_label_map(folder / "labels" / f"c{number}.nii.gz", Volume(label, AFFINE))
    return folder


def _table(folder: Path, images: Path) -> Path:
    rows = [
        {"case_id": f"c{n}", **{k: images / f"{k}s" / f"c{n}.nii.gz" for k in ("image", "label")}}
        for n in range(2)
    ]
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder / "cases.csv"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _linked(link: Path, target: Path) -> Path:
    link.symlink_to(target)
    return link


PLACES: dict[str, Callable[[Path, Path], tuple[Path, Path]]] = {
    "the source": lambda d, tmp: (d, d),
    "in the source": lambda d, tmp: (d, d / "prepared"),
    "around the source": lambda d, tmp: (d, tmp),
    "the source by a link": lambda d, tmp: (d, _linked(tmp / "out", d)),
    "a link to the source is read": lambda d, tmp: (_linked(tmp / "in", d), d),
    "the source by dots": lambda d, tmp: (d, d / "images" / ".." / ".." / "d"),
    "the folder of a table": lambda d, tmp: (_table(d, d), d),
    "the files that a table elsewhere names": lambda d, tmp: (_table(tmp / "t", d), d),
    "the folder of one of them": lambda d, tmp: (_table(tmp / "t", d), d / "images"),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_output_that_overlaps_with_the_source_is_refused(
    source: Path, tmp_path: Path, place: str
) -> None:
    given, out = PLACES[place](source, tmp_path)
    before = _bytes(tmp_path)
    settings = DataSettings.model_validate({"source": str(given), **SETTINGS})
    with pytest.raises(WorkFolderError, match=r", which is read|and no prepare\.json"):
        prepare(settings, out)
    assert _bytes(tmp_path) == before


def test_a_folder_of_the_output_that_links_to_the_source_is_refused(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "images").symlink_to(source / "images")
    (out / "prepare.json").touch()
    before = _bytes(source)
    settings = DataSettings.model_validate({"source": str(source), **SETTINGS})
    with pytest.raises(WorkFolderError, match=r"out/images (holds|lies in)"):
        prepare(settings, out)
    assert _bytes(source) == before


def test_files_that_somebody_else_wrote_are_kept(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(source, other)
    before = _bytes(other)
    settings = DataSettings.model_validate({"source": str(source), **SETTINGS})
    with pytest.raises(WorkFolderError, match=r"holds images and no prepare\.json"):
        prepare(settings, other)
    assert _bytes(other) == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("taken", r"is a file\. Name a folder"),
        ("taken/out", r"Not a directory\. .* move the file away that stands where"),
        ("n" * 300, r"File name too long\. Nothing was written; choose a shorter name"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.delattr("vcmaug.data.prepare.find_cases")
    settings = DataSettings.model_validate({"source": str(source), **SETTINGS})
    with pytest.raises(WorkFolderError, match=told):
        prepare(settings, tmp_path / name)


def test_a_source_whose_path_is_not_utf_8_is_refused_first(source: Path, tmp_path: Path) -> None:
    odd = source.rename(tmp_path / os.fsdecode(b"k\xff"))
    settings = DataSettings.model_validate({"source": str(odd), **SETTINGS})
    with pytest.raises(WorkFolderError, match=r"its path is not UTF-8\. Rename"):
        prepare(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_run_is_refused_while_the_first_writes(source: Path, tmp_path: Path) -> None:
    settings = DataSettings.model_validate({"source": str(source), **SETTINGS})
    with (
        locked(tmp_path / "out", purpose="preparing cases"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(preparing cases\)"),
    ):
        prepare(settings, tmp_path / "out")
    assert len(prepare(settings, tmp_path / "out")) == 2


def test_a_run_that_was_cut_leaves_no_whole_folder(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DataSettings.model_validate({"source": str(source), **SETTINGS})
    prepare(settings, tmp_path / "out")

    def full(*_: object) -> str:
        raise WorkFolderError("the disk is full")

    monkeypatch.setattr("vcmaug.data.prepare.write_label_map", full)
    with pytest.raises(WorkFolderError, match="full"):
        prepare(settings, tmp_path / "out")
    assert not (tmp_path / "out" / "prepare.json").exists()
    monkeypatch.undo()
    assert len(prepare(settings, tmp_path / "out")) == 2


def test_splits_do_not_replace_the_list_that_is_read(source: Path, tmp_path: Path) -> None:
    table = _table(tmp_path / "w", source).rename(tmp_path / "w" / "splits.json")
    before = table.read_bytes()
    words = ["prepare", str(table), "--format", "table", "--out", str(tmp_path / "w" / "cases")]
    words += ["--structures", "a=1", "--grid", "8x8x8", "--num-test", "1"]
    result = CliRunner().invoke(app, words)
    assert "is " in str(result.exception)
    assert isinstance(result.exception, WorkFolderError)
    assert table.read_bytes() == before


def test_outputs_beside_what_is_read_are_not_refused(tmp_path: Path) -> None:
    reads = [tmp_path / "a" / "x.csv", tmp_path / "b"]
    refuse_overlap("testing", writes=[tmp_path / "a" / "out", tmp_path / "bb"], reads=reads)


def test_the_same_folder_under_another_name_is_known(tmp_path: Path) -> None:
    """Files are compared by device and number, as a bind mount or another spelling needs it."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    with pytest.raises(WorkFolderError, match=r"the output .*b is .*a, which is read"):
        refuse_overlap("testing", writes=[tmp_path / "b"], reads=[tmp_path / "a"])


def test_files_of_an_earlier_run_that_are_of_no_case_are_reported(
    source: Path, tmp_path: Path
) -> None:
    settings = DataSettings.model_validate({"source": str(source), **SETTINGS})
    prepare(settings, tmp_path / "out")
    for name in ("images", "labels"):
        (source / name / "c0.nii.gz").unlink()
    notes: list[str] = []
    prepare(settings, tmp_path / "out", report=lambda state: notes.append(state.note))
    first = tmp_path / "out" / "images" / "c0.nii.gz"
    assert notes[-1] == f"2 files of an earlier run are of no case, e.g. {first}; remove them"
