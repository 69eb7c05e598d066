"""A case of a finished cohort drawn again: the same bytes, or how far they are apart."""

import shutil
from dataclasses import replace

import pytest
from made_up_study import rewrite_manifest

from vcmaug.cohort.manifest import read_rows
from vcmaug.data.nifti import read_image, write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import CohortError
from vcmaug.generate.repeat import repeat


@pytest.mark.parametrize("name", ["r000004", "synthetic-r000006"])
def test_a_case_is_drawn_again_to_the_byte(reference, name):
    repeated = repeat(reference, name)
    assert (repeated.same, repeated.difference) == (True, 0.0)
    assert "the same bytes" in repeated.words


def test_another_image_is_found(reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    path = out / "images" / "r000001.nii.gz"
    image = read_image(path, case_id="k")
    sha256 = write_image(path, Volume(image.array * 0.5, image.affine))
    rows = list(read_rows(out))
    rows[1] = replace(rows[1], image_sha256=sha256)
    rewrite_manifest(out, rows)
    repeated = repeat(out, "r000001")
    assert not repeated.same
    assert repeated.difference == pytest.approx(float(image.array.max()) / 2, abs=1e-3)


def test_a_file_that_is_not_the_manifests_is_found(reference, tmp_path):
    out = shutil.copytree(reference, tmp_path / "cohort")
    path = out / "images" / "r000001.nii.gz"
    image = read_image(path, case_id="k")
    write_image(path, Volume(image.array * 0.5, image.affine))
    repeated = repeat(out, "r000001")
    assert not repeated.same
    assert "The file is not the one of the manifest" in repeated.words


@pytest.mark.parametrize("content", [None, b"", b"no volume"])
def test_a_lost_or_damaged_file_is_named(reference, tmp_path, content):
    out = shutil.copytree(reference, tmp_path / "cohort")
    path = out / "images" / "r000001.nii.gz"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CohortError, match=r"r000001.nii.gz is lost or damaged .*--verify"):
        repeat(out, "r000001")


def test_a_case_that_is_not_there_is_named(reference):
    with pytest.raises(CohortError, match="no such request; they go from r000000 to r000006"):
        repeat(reference, "r000009")
