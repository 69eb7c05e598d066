"""What was prepared is prepared again where any file that a reader named has changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from making import prepare
from tiny import AFFINE, label_map_of

from vcmaug.data.nifti import read_label_map, write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.pipeline.graph import Graph
from vcmaug.pipeline.recipe import read_recipe
from vcmaug.pipeline.work import Work, claim_work

GRID = {"shape": [16, 16, 16], "spacing_mm": [2, 2, 2]}
NAMES = [f"b{number:02d}" for number in range(4)]


def pair(image: Path, label: Path, *, radius: float) -> None:
    """Write an image and a label map of a ball in a ball."""
    volume = label_map_of(radius=radius, core=2.2)
    noise = np.random.default_rng(round(10 * radius)).random(volume.shape) * 0.2
    write_image(image, Volume((0.35 * volume.array + noise).astype(np.float32), AFFINE))
    write_label_map(label, volume)


def pairs(images: Path, labels: Path, *, of_image: str = "{}.nii.gz") -> list[tuple[Path, Path]]:
    """Write a few cases; return their files."""
    files = [(images / of_image.format(name), labels / f"{name}.nii.gz") for name in NAMES]
    for number, (image, label) in enumerate(files):
        pair(image, label, radius=4.5 + 0.2 * number)
    return files


def plain(root: Path) -> dict[str, Any]:
    pairs(root / "d" / "images", root / "d" / "labels")
    return {"source": "d"}


def linked_folder(root: Path) -> dict[str, Any]:
    for kind in ("images", "labels"):
        (root / "store" / kind).mkdir(parents=True)
        (root / "d").mkdir(exist_ok=True)
        (root / "d" / kind).symlink_to(root / "store" / kind)
    pairs(root / "store" / "images", root / "store" / "labels")
    return {"source": "d"}


def linked_files(root: Path) -> dict[str, Any]:
    for files in pairs(root / "store" / "images", root / "store" / "labels"):
        for path in files:
            link = root / "d" / path.relative_to(root / "store")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return {"source": "d"}


def table(root: Path) -> dict[str, Any]:
    rows = [
        f"{name},../{image.relative_to(root)},{label}\n"
        for name, (image, label) in zip(NAMES, pairs(root / "i", root / "l"), strict=True)
    ]
    (root / "lists").mkdir()
    (root / "lists" / "cases.csv").write_text("case_id,image,label\n" + "".join(rows))
    return {"source": "lists/cases.csv"}


def datalist(root: Path) -> dict[str, Any]:
    entries = [
        {"image": str(image.relative_to(root)), "label": str(label)}
        for image, label in pairs(root / "i", root / "l")
    ]
    (root / "list.json").write_text(json.dumps({"training": entries}))
    return {"source": "list.json"}


def further_table(root: Path) -> dict[str, Any]:
    asked = plain(root)
    (root / "meta.csv").write_text("case_id,age\n" + "".join(f"{name},40\n" for name in NAMES))
    return asked | {"format": {"name": "folder", "table": "../meta.csv"}}


def label_values(root: Path) -> dict[str, Any]:
    (root / "values.csv").write_text("value,structure\n1,shell\n2,core\n")
    return plain(root) | {"label_values_file": "values.csv"}


def nnunet(root: Path) -> dict[str, Any]:
    pairs(root / "d" / "imagesTr", root / "d" / "labelsTr", of_image="{}_0000.nii.gz")
    (root / "d" / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1"}}))
    return {"source": "d"}


def bids(root: Path) -> dict[str, Any]:
    for number, name in enumerate(NAMES):
        folder = f"sub-{name}/anat/sub-{name}"
        label = root / "d" / "derivatives" / "seg" / f"{folder}_dseg.nii.gz"
        pair(root / "d" / f"{folder}_T1w.nii.gz", label, radius=4.5 + 0.2 * number)
    (root / "d" / "dataset_description.json").write_text("{}")
    rows = "".join(f"sub-{name}\t40\n" for name in NAMES)
    (root / "d" / "participants.tsv").write_text(f"participant_id\tage\n{rows}")
    return {"source": "d"}


SETUPS = [
    *(plain, linked_folder, linked_files, table, datalist, further_table, label_values),
    *(nnunet, bids),
]


@pytest.fixture(params=SETUPS, ids=lambda setup: setup.__name__)
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Work:
    """The work folder of a recipe on one of the set-ups, with prepared cases."""
    write: Callable[[Path], dict[str, Any]] = request.param
    data = {**write(tmp_path), "scheme": {"shell": 1, "core": 2}, "grid": GRID}
    content = {
        "name": "own",
        "data": data,
        "splits": {"num_test": 1, "num_validation": 1},
        "prior": {"spec": {"name": "own", "grid": GRID}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    made = claim_work(tmp_path / "w", read_recipe(tmp_path / "recipe.yaml"), profile=None)
    assert prepare(made)
    assert not prepare(made)
    return made


def files_of(folder: Path, pattern: str) -> list[Path]:
    """Return the files behind a pattern that the recipe's data consist of."""
    return sorted(path for path in folder.rglob(pattern) if "w" not in path.parts[-3:-1])


def test_a_changed_label_map_is_read_again(work: Work, tmp_path: Path) -> None:
    label = next(
        path
        for path in sorted(tmp_path.rglob("*b00*.nii.gz"))
        if not path.is_relative_to(work.folder)
        and not path.is_symlink()
        and ("l" in path.parts or "dseg" in path.name or path.parent.name.startswith("labels"))
    )
    before = read_label_map(work.cases / "labels" / _name(work), case_id="b00")
    write_label_map(label, label_map_of(radius=6.4, core=3.1))
    assert Graph(work).cases.state().what == "stale"
    assert prepare(work)
    after = read_label_map(work.cases / "labels" / _name(work), case_id="b00")
    assert np.count_nonzero(after.array) > np.count_nonzero(before.array)
    assert not prepare(work)


def _name(work: Work) -> str:
    """Return the file name of the first prepared label map."""
    return min(path.name for path in (work.cases / "labels").iterdir())


def test_every_other_file_that_is_read_counts(work: Work, tmp_path: Path) -> None:
    """Tables, lists and descriptions, each with as many bytes as before."""
    for path in sorted(tmp_path.glob("*.csv")) + sorted(tmp_path.rglob("[dlp]*/*.[cjt]s*")):
        if path.is_relative_to(work.folder) or path.name == "dataset_description.json":
            continue
        text = path.read_text()
        path.write_text(text.replace("40", "41").replace("T1", "T2").replace("1,shell", "7,shell"))
        assert Graph(work).cases.state().what == "stale", path
        path.write_text(text)
    for path in tmp_path.glob("*.json"):
        path.write_text(path.read_text().replace('"training"', '"training" '))
        assert Graph(work).cases.state().what == "stale", path
