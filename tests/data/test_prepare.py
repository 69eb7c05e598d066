import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vcmaug.data.case import Measured
from vcmaug.data.cases import Cases
from vcmaug.data.geometry import Grid
from vcmaug.data.intensity import IntensitySettings
from vcmaug.data.nifti import read_image, read_label_map, write_image, write_label_map
from vcmaug.data.prepare import DataSettings, find_cases, prepare
from vcmaug.data.readers.folder import Folder
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError, FaultyDataSet, WorkFolderError
from vcmaug.files import sha256_of_file

GRID = {"shape": (8, 8, 8)}
AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])


def _pair(folder: Path, image: str, label: str | None, *, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    array = generator.random((9, 8, 7)).astype(np.float32)
    write_image(folder / image, Volume(array, AFFINE))
    if label is not None:
        labels = np.zeros((9, 8, 7), dtype=np.uint16)
        labels[2:6, 2:6, 2:5] = 1
        write_label_map(folder / label, Volume(labels, AFFINE))


def _settings(source: Path, **more: object) -> DataSettings:
    content = {"source": str(source), "scheme": {"a": 1}, "grid": GRID, **more}
    return DataSettings.model_validate(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    for number in range(3):
        name = f"k{number}.nii.gz"
        _pair(source, f"images/{name}", f"labels/{name}", seed=number)
    return source


def test_a_plain_folder_becomes_cases_on_the_grid(folder: Path, tmp_path: Path) -> None:
    prepared = prepare(_settings(folder), tmp_path / "out")
    assert [case.case_id for case in prepared.cases] == ["k0", "k1", "k2"]
    assert prepared.scheme.names == ("a",)
    for case in prepared.cases:
        assert case.label is not None
        image = read_image(case.image, case_id=case.case_id)
        assert image.shape == (8, 8, 8)
        assert (image.array.min(), image.array.max()) == (0.0, 1.0)
        label = read_label_map(case.label, case_id=case.case_id)
        assert np.count_nonzero(label.array) == 4 * 4 * 3
        assert case.measured == Measured({"a": 4 * 4 * 3}, share_outside_grid=0.0)
        assert case.sha256 == {name: sha256_of_file(path) for name, path in case.files.items()}
    beside = pd.read_csv(tmp_path / "out" / "cases.csv")
    assert list(beside) == [
        "case_id", "subject_id", "image", "label", "volume_a_mm3", "label_share_outside_grid",
    ]  # fmt: skip


def test_what_the_grid_cuts_off_is_said(folder: Path, tmp_path: Path) -> None:
    cases = prepare(_settings(folder, grid={"shape": (3, 8, 8)}), tmp_path / "out")
    assert [case.measured.share_outside_grid for case in cases if case.measured] == [0.25] * 3


def test_images_alone_need_no_structure(folder: Path, tmp_path: Path) -> None:
    alone = _settings(folder, scheme={}, require_labels=False)
    with pytest.raises(FaultyDataSet, match=r"k0\.nii\.gz: a label map, and no structure is named"):
        prepare(alone, tmp_path / "out")
    shutil.rmtree(folder / "labels")
    prepared = prepare(alone, tmp_path / "out")
    assert prepared.scheme.names == ()
    assert [case.label for case in prepared.cases] == [None, None, None]
    with pytest.raises(DataError, match="there is no structure"):
        prepare(_settings(folder, scheme={}), tmp_path / "other")


def test_label_maps_hold_channel_numbers(folder: Path, tmp_path: Path) -> None:
    cases = prepare(_settings(folder, scheme={"none": 4, "a": 1}), tmp_path / "out")
    assert (cases.scheme.values, cases.scheme.source_values) == ((1, 2), (4, 1))
    label = cases[0].label
    assert label is not None
    array = read_label_map(label, case_id="k0").array
    assert set(np.unique(array)) == {0, 2}
    assert set(np.unique(cases.scheme.in_source_values(array))) == {0, 1}


def test_source_values_are_mapped_to_structures(folder: Path, tmp_path: Path) -> None:
    settings = _settings(folder, scheme={"x": 4}, label_values={1: "x"})
    prepare(settings, tmp_path / "out")
    case = Cases.open(tmp_path / "out")[0]
    assert case.label is not None
    assert set(np.unique(read_label_map(case.label, case_id="k0").array)) == {0, 1}
    with pytest.raises(DataError, match="y not in the scheme"):
        prepare(_settings(folder, label_values={1: "y"}), tmp_path / "other")


def test_every_fault_of_a_set_is_listed_and_nothing_is_written(
    folder: Path, tmp_path: Path
) -> None:
    _pair(folder, "images/bare.nii.gz", None, seed=3)
    _pair(folder, "images/odd.nii.gz", "labels/odd.nii.gz", seed=4)
    odd = np.full((9, 8, 7), 5, dtype=np.uint16)
    write_label_map(folder / "labels" / "odd.nii.gz", Volume(odd, AFFINE))
    _pair(folder, "images/shape.nii.gz", "labels/shape.nii.gz", seed=5)
    write_label_map(folder / "labels" / "shape.nii.gz", Volume(odd[1:] * 0 + 1, AFFINE))
    _pair(folder, "images/moved.nii.gz", "labels/moved.nii.gz", seed=6)
    moved = AFFINE.copy()
    moved[0, 3] = 3.0
    write_label_map(folder / "labels" / "moved.nii.gz", Volume(odd * 0 + 1, moved))
    _pair(folder, "images/cut.nii.gz", "labels/cut.nii.gz")
    cut = folder / "images" / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:100])
    _pair(folder, "images/zero.nii.gz", "labels/zero.nii.gz")
    write_image(folder / "images" / "zero.nii.gz", Volume(np.zeros((9, 8, 7)), AFFINE))
    with pytest.raises(FaultyDataSet) as caught:
        prepare(_settings(folder), tmp_path / "out")
    faults = {fault.split(",")[0].removeprefix("case "): fault for fault in caught.value.faults}
    assert len(caught.value.faults) == 6
    assert "an image without a label map" in faults["bare"]
    assert "label values [5] outside the scheme" in faults["odd"]
    assert "found 8x8x7 voxels" in faults["shape"]
    assert "expected 9x8x7 voxels" in faults["shape"]
    assert "up to 3 mm apart, at most 0.1 is allowed" in faults["moved"]
    assert "truncated" in faults["cut"]
    assert "every voxel is 0" in faults["zero"]
    assert not (tmp_path / "out").exists()


def test_an_older_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match=r"no such file\. Run `vcmaug prepare SRC .*` first"):
        Cases.open(tmp_path)
    (tmp_path / "cases.csv").write_text("case_id,subject_id,image\n")
    with pytest.raises(WorkFolderError, match=r"older version\. Run `vcmaug prepare SRC .*` again"):
        Cases.open(tmp_path)


def test_an_empty_folder_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(FaultyDataSet, match="no case found"):
        prepare(_settings(tmp_path / "source"), tmp_path / "out")
    with pytest.raises(DataError, match="no such file or folder"):
        prepare(_settings(tmp_path / "nowhere"), tmp_path / "out")


def test_ids_that_stand_twice_are_refused(folder: Path, tmp_path: Path) -> None:
    rows = [{"case_id": "k", "image": f"images/k{n}.nii.gz", "label": ""} for n in (0, 1)]
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    with pytest.raises(FaultyDataSet, match=r"case k, .*cases\.csv: the id stands 2 times"):
        prepare(_settings(folder / "cases.csv", require_labels=False), tmp_path / "out")


def test_one_image_for_two_subjects_is_refused_by_its_voxels(folder: Path, tmp_path: Path) -> None:
    """A copy under another name is one person, who could be of training and of the test."""
    copy, label = folder / "images" / "k9.nii", folder / "labels" / "k9.nii.gz"
    copy.write_bytes(gzip.decompress((folder / "images" / "k0.nii.gz").read_bytes()))
    label.write_bytes((folder / "labels" / "k1.nii.gz").read_bytes())
    _pair(folder, "images/bare.nii.gz", None, seed=3)
    rows = [
        {"case_id": path.name.split(".")[0], "image": path.relative_to(folder)}
        for path in sorted((folder / "images").iterdir())
    ]
    table = pd.DataFrame(rows)
    table["label"] = [f"labels/{name}.nii.gz" * (name != "bare") for name in table["case_id"]]
    table.to_csv(folder / "cases.csv", index=False)
    with pytest.raises(FaultyDataSet) as caught:
        prepare(_settings(folder / "cases.csv"), tmp_path / "out")
    alone, twice = caught.value.faults
    assert alone.startswith("case bare, ")
    assert twice.startswith(f"case k9, {copy}: the same voxels as ")
    assert f"{folder / 'images' / 'k0.nii.gz'} (case k0), found for the subjects k0 and k9" in twice
    assert not (tmp_path / "out").exists()
    known = table[table["case_id"] != "bare"].assign(subject_id=["p", "q", "r", "p"])
    known.to_csv(folder / "cases.csv", index=False)
    assert len(prepare(_settings(folder / "cases.csv"), tmp_path / "out")) == 4


def test_a_table_brings_subjects_scalars_and_further_images(folder: Path, tmp_path: Path) -> None:
    rows = [
        {
            "case_id": f"k{n}",
            "subject_id": "p",
            "image": f"images/k{n}.nii.gz",
            "image_t2": f"images/k{2 - n}.nii.gz",
            "label": f"labels/k{n}.nii.gz",
            "age": 40 + n,
        }
        for n in range(3)
    ]
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    prepare(_settings(folder / "table.csv"), tmp_path / "out")
    cases = Cases.open(tmp_path / "out")
    assert [(case.subject_id, case.source["age"]) for case in cases] == [
        ("p", 40), ("p", 41), ("p", 42),
    ]  # fmt: skip
    assert cases[0].extra_images["t2"].read_bytes() == cases[2].image.read_bytes()


def test_an_nnunet_data_set_is_recognised(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "Dataset001_X"
    (root / "imagesTr").mkdir(parents=True)
    shutil.copytree(folder / "labels", root / "labelsTr")
    for path in (folder / "images").iterdir():
        shutil.copy(path, root / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz"))
    about = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1}, "numTraining": 3}
    (root / "dataset.json").write_text(json.dumps({**about, "file_ending": ".nii.gz"}))
    assert len(prepare(_settings(root), tmp_path / "out")) == 3
    (root / "dataset.json").write_text(json.dumps({**about, "numTraining": 9}))
    with pytest.raises(FaultyDataSet, match="numTraining 9, found 3"):
        prepare(_settings(root), tmp_path / "other")


def test_a_datalist_is_recognised(folder: Path, tmp_path: Path) -> None:
    entries = [
        {"image": f"images/k{n}.nii.gz", "label": f"labels/k{n}.nii.gz", "age": 30 + n}
        for n in range(2)
    ]
    path = folder / "datalist.json"
    path.write_text(json.dumps({"training": [*entries, {"label": "x"}]}))
    faults: list[str] = []
    cases = find_cases(_settings(path), faults)
    assert [(case.case_id, case.source["age"]) for case in cases] == [("k0", 30), ("k1", 31)]
    assert faults == [f"{path}, entry 2: no image, expected a path; add it or delete the entry"]


def test_a_bids_data_set_is_recognised_with_sessions_and_participants(tmp_path: Path) -> None:
    root = tmp_path / "bids"
    for seed, (subject, session) in enumerate((("01", "a"), ("01", "b"), ("02", "a"))):
        name = f"sub-{subject}_ses-{session}"
        inside = f"sub-{subject}/ses-{session}/anat"
        label = f"derivatives/seg/{inside}/{name}_dseg.nii.gz"
        _pair(root, f"{inside}/{name}_T1w.nii.gz", label, seed=seed)
    (root / "dataset_description.json").write_text("{}")
    table = pd.DataFrame({"participant_id": ["sub-01", "sub-02"], "age": [40, 50]})
    table.to_csv(root / "participants.tsv", sep="\t", index=False)
    prepare(_settings(root), tmp_path / "out")
    cases = Cases.open(tmp_path / "out")
    assert [(case.case_id, case.subject_id, case.source["age"]) for case in cases] == [
        ("sub-01_ses-a", "sub-01", 40),
        ("sub-01_ses-b", "sub-01", 40),
        ("sub-02_ses-a", "sub-02", 50),
    ]


def test_patterns_tables_and_subjects_of_a_plain_folder(folder: Path, tmp_path: Path) -> None:
    (folder / "p.csv").write_text("id,age\nk0,1\nk1,2\nk2,3\n")
    layout = {"name": "folder", "table": "p.csv", "table_key": "id", "subject": r"k(\d)"}
    settings = _settings(folder, format=layout)
    assert [case.subject_id for case in find_cases(settings, [])] == ["0", "1", "2"]
    faults: list[str] = []
    (folder / "p.csv").write_text("id,age\nk0,1\nk1,2\n")
    find_cases(settings, faults)
    assert faults == [
        f"case k2: not in {folder / 'p.csv'}, whose ids are such as k0, k1, expected a row; add "
        "one, n/a where nothing is known"
    ]


@pytest.mark.data
def test_real_hippocampi_keep_nearly_all_of_their_labels(task04: Path, tmp_path: Path) -> None:
    settings = DataSettings(
        source=str(task04),
        scheme={"anterior": 1, "posterior": 2},
        grid=Grid(shape=(32, 48, 32), padding="reflect"),
        max_cases=20,
    )
    assert len(prepare(settings, tmp_path)) == 20
    table = pd.read_csv(tmp_path / "cases.csv")
    assert table["label_share_outside_grid"].max() < 0.02
    assert table["volume_anterior_mm3"].between(800, 3000).all()


@pytest.mark.data
def test_real_brains_have_the_volumes_of_their_own_table(ixi: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "brain-mini"
    settings = DataSettings(
        source=str(ixi),
        format=Folder(
            images="t1/{case}_T1.nii.gz",
            labels="labels/{case}_DLMUSE.nii.gz",
            table="participants.csv",
            table_key="id",
        ),
        scheme={"csf": 1, "grey_matter": 2, "white_matter": 3, "ventricles": 4},
        label_values_file=str(recipe / "tissue4.csv"),
        grid=Grid(shape=(80, 96, 80), spacing_mm=(2, 2, 2)),
        intensity=IntensitySettings(over="nonzero"),
        max_cases=3,
    )
    prepare(settings, tmp_path)
    table = pd.read_csv(tmp_path / "cases.csv")
    np.testing.assert_allclose(
        table["volume_ventricles_mm3"], table["ventricle_ml"] * 1000, rtol=1e-6
    )
    np.testing.assert_allclose(table["volume_csf_mm3"], table["cortical_csf_ml"] * 1000, rtol=1e-6)


def _with_further(folder: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write the same further image for both cases of a table; return the table."""
    write_image(folder / "further.nii.gz", Volume(array.astype(np.float32), affine))
    rows = [
        {
            "case_id": f"k{n}",
            "image": f"images/k{n}.nii.gz",
            "label": f"labels/k{n}.nii.gz",
            "image_further": "further.nii.gz",
        }
        for n in (0, 1)
    ]
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    return folder / "cases.csv"


def test_a_further_image_that_is_a_mask_stays_one(folder: Path, tmp_path: Path) -> None:
    """A small one has percentiles without contrast; it is resampled as a label map is."""
    mask = np.zeros((9, 8, 7))
    mask[3:6, 3:6, 2:5] = 1
    grid = {"shape": [16, 16, 16], "spacing_mm": [0.5, 0.5, 0.5]}
    prepare(_settings(_with_further(folder, mask), grid=grid), tmp_path / "out")
    for case in Cases.open(tmp_path / "out"):
        found = read_image(case.extra_images["further"], case_id=case.case_id).array
        assert set(np.unique(found)) == {0.0, 1.0}
        assert 0.7 * 27 * 8 < np.count_nonzero(found) < 1.1 * 27 * 8


@pytest.mark.parametrize(
    ("shape", "shift", "constant", "named"),
    [
        ((9, 8, 9), 0, False, "found 9x8x9 voxels of 1x1x1 mm"),
        ((9, 8, 7), 3, False, "corners are up to 3 mm apart"),
        ((9, 8, 7), 0, True, "every voxel is 0.5"),
    ],
)
def test_a_further_image_that_does_not_fit_is_refused_for_every_case(
    folder: Path,
    tmp_path: Path,
    shape: tuple[int, int, int],
    shift: int,
    constant: bool,
    named: str,
) -> None:
    array = np.full(shape, 0.5) if constant else np.random.default_rng(0).random(shape)
    affine = AFFINE.copy()
    affine[2, 3] = shift
    with pytest.raises(FaultyDataSet) as caught:
        prepare(_settings(_with_further(folder, array, affine)), tmp_path / "out")
    message = str(caught.value)
    for name in ("k0", "k1"):
        assert f"case {name}, " in message
    assert message.count("further.nii.gz") == message.count(named) == 2
    assert not (tmp_path / "out").exists()
