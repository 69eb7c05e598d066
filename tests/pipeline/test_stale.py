"""What was made is made again where any file has changed that a reader or a builder named."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from making import prepare
from tiny import AFFINE, label_map_of

from vcmaug.conditions.chain import ConditionSettings
from vcmaug.data.nifti import write_image, write_label_map
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


def uncompressed(root: Path) -> dict[str, Any]:
    for files in pairs(root / "z" / "images", root / "z" / "labels"):
        for path in files:
            plain = root / "d" / path.relative_to(root / "z").with_suffix("")
            plain.parent.mkdir(parents=True, exist_ok=True)
            plain.write_bytes(gzip.decompress(path.read_bytes()))
    patterns = {f"{kind}s": f"{kind}s/{{case}}.nii" for kind in ("image", "label")}
    return {"source": "d", "format": {"name": "folder", **patterns}}


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


# the set-up, the label map that is changed, and other files that it reads with a text in each
SETUPS = {
    plain: ("d/labels/b00.nii.gz", {}),
    linked_folder: ("store/labels/b00.nii.gz", {}),
    linked_files: ("store/labels/b00.nii.gz", {}),
    table: ("l/b00.nii.gz", {"lists/cases.csv": ("b00", "c00")}),
    datalist: ("l/b00.nii.gz", {"list.json": ("training", "validation")}),
    further_table: ("d/labels/b00.nii.gz", {"meta.csv": ("40", "41")}),
    label_values: ("d/labels/b00.nii.gz", {"values.csv": ("1,shell", "7,shell")}),
    nnunet: ("d/labelsTr/b00.nii.gz", {"d/dataset.json": ("T1", "T2")}),
    bids: (
        "d/derivatives/seg/sub-b00/anat/sub-b00_dseg.nii.gz",
        {"d/participants.tsv": ("40", "41")},
    ),
}


def prepared(root: Path, write: Callable[[Path], dict[str, Any]]) -> Work:
    """Return the work folder of a recipe on a set-up, with prepared cases."""
    data = {**write(root), "scheme": {"shell": 1, "core": 2}, "grid": GRID}
    content = {
        "name": "own",
        "data": data,
        "splits": {"num_test": 1, "num_validation": 1},
        "prior": {"spec": {"name": "own", "grid": GRID}},
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(content))
    work = claim_work(root / "w", read_recipe(root / "recipe.yaml"), profile=None)
    assert prepare(work)
    assert not prepare(work)
    return work


@pytest.mark.parametrize(
    ("write", "label"), [(write, label) for write, (label, _) in SETUPS.items()]
)
def test_a_changed_label_map_is_read_again(
    tmp_path: Path, write: Callable[[Path], dict[str, Any]], label: str
) -> None:
    work = prepared(tmp_path, write)
    before = [path.read_bytes() for path in sorted((work.cases / "labels").iterdir())]
    write_label_map(tmp_path / label, label_map_of(radius=6.4, core=3.1))
    assert Graph(work).cases.state().what == "stale"
    assert prepare(work)
    after = [path.read_bytes() for path in sorted((work.cases / "labels").iterdir())]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, *3 * [False]]
    assert not prepare(work)


def test_a_change_that_keeps_size_and_time_is_read_again(tmp_path: Path) -> None:
    """As archives and backups leave it; a copy of the same content is the same."""
    work = prepared(tmp_path, uncompressed)
    key, path = Graph(work).cases.key(), tmp_path / "d" / "labels" / "b00.nii"
    before, first = path.stat(), path.read_bytes()
    shutil.copy2(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    assert path.stat().st_ino != before.st_ino
    assert Graph(work).cases.state().is_there
    for content in (first[:-2] + b"\1\0", first):
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert Graph(work).cases.state().why == ("labels/b00.nii changed",)
        assert prepare(work)
        assert Graph(work).cases.key() != key
        assert not prepare(work)


@pytest.mark.parametrize(
    ("write", "file", "texts"),
    [(write, *one) for write, (_, others) in SETUPS.items() for one in others.items()],
)
def test_every_other_file_that_is_read_counts(
    tmp_path: Path, write: Callable[[Path], dict[str, Any]], file: str, texts: tuple[str, str]
) -> None:
    work = prepared(tmp_path, write)
    path = tmp_path / file
    assert texts[0] in path.read_text()
    path.write_text(path.read_text().replace(*texts))
    state = Graph(work).cases.state()
    assert state.what == "stale"
    assert any(why.endswith("changed") for why in state.why)


def test_a_changed_mask_of_a_lesion_atlas_is_read_again(tmp_path: Path) -> None:
    """Of a folder or named in a table; with as many bytes as before."""
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "a_lesion.nii").write_bytes(b"one")
    (tmp_path / "atlas.csv").write_text("mask,subject_id\nmasks/a_lesion.nii,a\n")
    for atlas in ({"source": masks, "pattern": "*.nii"}, {"source": tmp_path / "atlas.csv"}):
        settings = ConditionSettings(chains=[{"steps": [{"name": "lesions", "atlas": atlas}]}])
        found = settings.files()
        assert settings.missing_files() == []
        (masks / "a_lesion.nii").write_bytes(b"two")
        assert settings.files() != found
        (masks / "a_lesion.nii").write_bytes(b"one")
        assert settings.files() == found
    (masks / "a_lesion.nii").unlink()
    (missing,) = settings.missing_files()
    assert missing == f"lesions: atlas.source: there is no {masks / 'a_lesion.nii'}"
