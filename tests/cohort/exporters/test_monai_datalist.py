"""A MONAI datalist: MONAI's own loader and our reader find the same volumes in it."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up_study import SPLITS, write_box_cohort
from monai.data import load_decathlon_datalist
from typer.testing import CliRunner

from vcmaug.arms.base import Sources
from vcmaug.arms.copy_paste import CopyPaste
from vcmaug.cli.main import app
from vcmaug.cohort.cohort import Cohort
from vcmaug.cohort.exporters.monai_datalist import MonaiDatalist
from vcmaug.data.cases import Cases
from vcmaug.data.nifti import read_image, read_label_map, write_grey_values, write_label_map
from vcmaug.data.prepare import prepare
from vcmaug.data.readers.datalist import Datalist
from vcmaug.data.source import DataSettings
from vcmaug.data.splits import read_splits, write_splits
from vcmaug.data.volume import Volume, same_grid
from vcmaug.errors import CohortError, WorkFolderError

NATIVE = np.array([[-1.0, 0, 0, 20], [0, 1.0, 0, -5], [0, 0, 1.5, 3], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Cases:
    """Prepare two subjects in grey values 0 to 400 whose structures have the values 7 and 4."""
    root = tmp_path_factory.mktemp("source")
    generator = np.random.default_rng(0)
    for number in range(2):
        label = np.zeros((14, 16, 12), dtype=np.uint16)
        label[3:9, 4:10, 3 + number : 8] = 7
        label[9:11, 4:10, 4:8] = 4
        image = 400 * (label > 0) * 0.6 + generator.random(label.shape) * 100
        name = f"s{number}.nii.gz"
        write_grey_values(root / "raw" / "images" / name, Volume(image, NATIVE))
        write_label_map(root / "raw" / "labels" / name, Volume(label, NATIVE))
    settings = DataSettings(
        source=str(root / "raw"),
        format="folder",
        scheme={"large": 7, "small": 4},
        grid={"shape": (16, 16, 16), "spacing_mm": (1.0, 1.0, 1.5), "orientation": "RAS"},
    )
    prepare(settings, root / "prepared")
    return Cases.open(root / "prepared")


@pytest.fixture(scope="module")
def cohort(cases: Cases, tmp_path_factory) -> Cohort:
    out = tmp_path_factory.mktemp("cohort")
    CopyPaste().make(Sources(cases.cases, cases.scheme, n=3), out=out)
    return Cohort.open(out)


def read_by_monai(path: Path) -> list[dict]:
    return load_decathlon_datalist(str(path), is_segmentation=True, data_list_key="training")


def read_by_us(path: Path) -> list:
    faults: list[str] = []
    found = Datalist().cases(path, faults)
    assert not faults
    return found


@pytest.mark.parametrize("absolute", [False, True])
def test_both_readers_find_the_same_volumes(cohort: Cohort, tmp_path: Path, absolute) -> None:
    out = MonaiDatalist(absolute=absolute).export(cohort, tmp_path / "lists" / "drawn.json")
    theirs, ours = read_by_monai(out), read_by_us(out)
    assert len(theirs) == len(ours) == 3
    for case, mine, entry in zip(cohort, ours, theirs, strict=True):
        for image, label in (
            (Path(entry["image"]), Path(entry["label"])),
            (mine.image, mine.label),
        ):
            before = read_label_map(case.label, case_id="x")
            found = read_label_map(label, case_id="x")
            assert same_grid(found, before)
            assert np.array_equal(found.array, np.array([0, 7, 4])[before.array])
            assert image.read_bytes() == case.image.read_bytes()
        assert (mine.case_id, mine.subject_id) == (case.case_id, case.subject_id)
        assert entry["source_subject_ids"] == list(cohort.row_of(case).source_subject_ids)
    content = json.loads(out.read_text())
    assert content["labels"] == {"0": "background", "7": "large", "4": "small"}
    paths = [entry[kind] for entry in content["training"] for kind in ("image", "label")]
    assert all(Path(path).is_absolute() == absolute for path in paths)


def test_where_values_are_the_user_s_the_cohort_s_own_files_are_named(tmp_path: Path) -> None:
    boxes = Cohort.open(write_box_cohort(tmp_path / "c", ("s0", "s1")))
    out = MonaiDatalist().export(boxes, tmp_path / "drawn.json", splits=SPLITS)
    files = [{k: Path(v[k]).resolve() for k in ("image", "label")} for v in read_by_monai(out)]
    assert files == [dict(case.files) for case in boxes]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "drawn.json"]


def test_native_volumes_lie_on_the_parent_s_grid_in_its_grey_values(
    cases: Cases, cohort: Cohort, tmp_path: Path
) -> None:
    out = MonaiDatalist(native=True, cases=cases.folder).export(cohort, tmp_path / "native.json")
    for case, entry in zip(cohort, read_by_monai(out), strict=True):
        image = read_image(Path(entry["image"]), case_id="x")
        label = read_label_map(Path(entry["label"]), case_id="x")
        assert image.shape == (14, 16, 12)
        assert np.allclose(image.affine, NATIVE)
        assert same_grid(image, label)
        assert set(np.unique(label.array)) == {0, 4, 7}
        drawn = read_label_map(case.label, case_id="x").array
        for structure, value in (((1), 7), ((2), 4)):  # only turned, cropped and padded
            assert (label.array == value).sum() == (drawn == structure).sum()
        inside = image.array[label.array == 7]
        assert 150 < inside.mean() < 400
        assert [path.name for path in image_files(tmp_path)]


def image_files(folder: Path) -> list[Path]:
    return sorted((folder / "native_volumes" / "images").iterdir())


def test_native_needs_the_parents(cases: Cases, cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"it lies in no work folder. Name the folder"):
        MonaiDatalist(native=True).export(cohort, tmp_path / "native.json")
    with pytest.raises(WorkFolderError, match=r"x\.json lies in .*, which is read"):
        MonaiDatalist(native=True, cases=cases.folder).export(cohort, cases.folder / "x.json")
    boxes = Cohort.open(write_box_cohort(tmp_path / "c", ("s0",)))
    with pytest.raises(CohortError, match="its parent k0 is not among the prepared cases"):
        MonaiDatalist(native=True, cases=cases.folder).export(boxes, tmp_path / "native.json")


def test_the_verb_writes_the_same_list(cohort: Cohort, tmp_path: Path) -> None:
    asked = ["export", str(cohort.folder), "--to", "monai-datalist", "--set", "absolute=true"]
    splits = tmp_path / "splits.json"
    write_splits(splits, SPLITS)
    refused = CliRunner().invoke(app, [*asked, "--splits", str(splits), "--out", str(splits)])
    assert isinstance(refused.exception, WorkFolderError)
    assert read_splits(splits) == SPLITS
    result = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "a.json")])
    assert result.exit_code == 0, result.output
    assert "3 cases" in result.output
    other = MonaiDatalist(absolute=True).export(cohort, tmp_path / "b" / "a.json")
    written = json.loads((tmp_path / "a.json").read_text())["training"]
    for entry, same in zip(written, read_by_monai(other), strict=True):
        assert Path(entry["label"]).read_bytes() == Path(same["label"]).read_bytes()
        assert entry["image"] == same["image"]
