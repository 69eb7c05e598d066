"""A cohort against its manifest: every kind of damage is found, and all at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny

from vcmaug.cohort.card import CohortCard, SeenByCohort
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.layout import CohortLayout
from vcmaug.cohort.manifest import read_rows
from vcmaug.cohort.merge import merge_parts
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.files import append_lines


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Return a cohort of four cases made by hand."""
    layout = CohortLayout(tmp_path_factory.mktemp("sound"))
    rows = []
    for number in range(4):
        request_id = f"r{number}"
        label_map = tiny.label_map_of(radius=4.0 + number)
        image = np.linspace(0, 1, label_map.array.size).reshape(label_map.shape)
        label_sha256 = write_label_map(layout.label(request_id), label_map)
        rows.append(
            tiny.manifest_row(
                request_id=request_id,
                case_id=f"synthetic-{request_id}",
                status="done",
                image=f"images/{request_id}.nii.gz",
                label=f"labels/{request_id}.nii.gz",
                image_sha256=write_image(layout.image(request_id), Volume(image, label_map.affine)),
                label_sha256=label_sha256,
                condition_sha256=label_sha256,
            )
        )
    append_lines(layout.part(0), [row.cells() for row in rows])
    merge_parts(layout, [[row.request_id for row in rows]])
    write_card(layout, done=4)
    return layout.folder


def write_card(layout: CohortLayout, *, done: int) -> None:
    """Write a card that counts so many cases."""
    about = {"n": done, "counts": {"done": done}, "scheme": tiny.SCHEME, "grid": tiny.GRID}
    CohortCard(**about, seen=SeenByCohort()).write(layout.folder)


@pytest.fixture
def copy(sound, tmp_path) -> CohortLayout:
    """Return a copy to damage."""
    return CohortLayout(shutil.copytree(sound, tmp_path / "copy"))


def test_foreign_files_are_found(copy):
    (copy.folder / "images" / "r9.nii.gz").write_bytes(b"x")
    (copy.folder / "labels" / "notes.txt").write_bytes(b"x")
    copy.manifest_csv.unlink()
    found = "\n".join(check_cohort(copy.folder))
    assert "images/r9.nii.gz: no row of the manifest names it" in found
    assert "labels/notes.txt: no row" in found
    assert "manifest.csv: no such file" in found


def test_a_damaged_manifest_is_named(copy):
    copy.manifest.write_bytes(copy.manifest.read_bytes()[:100])
    with pytest.raises(CohortError, match=r"manifest.parquet is damaged .* merged again"):
        check_cohort(copy.folder)


def rewrite(layout: CohortLayout, request_id: str, **values: str) -> None:
    """Append a row that differs, and merge again."""
    rows = {row.request_id: row for row in read_rows(layout.folder)}
    append_lines(layout.part(0), [rows[request_id].changed(**values).cells()])
    merge_parts(layout, [list(rows)])


def test_a_sound_cohort_has_no_fault(sound):
    assert check_cohort(sound) == []


def test_lost_and_damaged_files_are_all_listed(copy):
    copy.image("r0").unlink()
    copy.label("r1").write_bytes(b"damaged")
    faults = check_cohort(copy.folder)
    assert len(faults) == 2
    assert faults[0].startswith("case synthetic-r0")
    assert faults[0].endswith("no such file")
    assert faults[1].startswith("case synthetic-r1")
    assert faults[1].endswith("its hash is not the manifest's")


def test_a_label_that_was_not_asked_for_is_found(copy):
    rewrite(copy, "r2", condition_sha256="0" * 64)
    assert ["is not condition" in fault for fault in check_cohort(copy.folder)] == [True]


def test_an_image_on_another_grid_is_found(copy):
    moved = tiny.AFFINE.copy()
    moved[0, 3] = 3.0
    image = Volume(np.linspace(0, 1, 16**3).reshape(16, 16, 16), moved)
    rewrite(copy, "r3", image_sha256=write_image(copy.image("r3"), image))
    assert ["differ in grid or affine" in fault for fault in check_cohort(copy.folder)] == [True]


def test_a_failed_request_needs_no_files(copy):
    copy.image("r0").unlink()
    copy.label("r0").unlink()
    rewrite(copy, "r0", status="failed")
    assert check_cohort(copy.folder) == []


def test_a_card_of_another_manifest_is_found(copy):
    write_card(copy, done=9)
    assert check_cohort(copy.folder) == ["cohort.json counts 9 requests, the manifest has 4"]
