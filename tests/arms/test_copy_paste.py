"""Pasted cases: what is pasted, where the seam lies, and who may be a donor."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from vcmaug.arms.base import Sources
from vcmaug.arms.copy_paste import CopyPaste
from vcmaug.cohort.check import check_cohort
from vcmaug.cohort.manifest import read_manifest
from vcmaug.data.cases import Case
from vcmaug.data.nifti import read_image, read_label_map, write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError

SETTINGS = CopyPaste(margin_mm=(2.0, 4.0), blend_mm=2.0)


def pair(radius: float, core: float, grey: float) -> tuple[Volume, Volume]:
    """Return an image of one grey value and a label map, 2 mm."""
    labels = tiny.label_map_of(radius=radius, core=core)
    return Volume(np.full(labels.shape, grey, dtype=np.float32), labels.affine), labels


def mixed(settings: CopyPaste = SETTINGS, margin_mm: float = 3.0) -> tuple[Volume, Volume]:
    return settings.blended(
        pair(5.0, 2.0, 0.2), pair(4.0, 3.0, 0.8), scheme=tiny.SCHEME, margin_mm=margin_mm
    )


def test_the_donors_structures_replace_the_hosts() -> None:
    image, labels = mixed()
    assert np.array_equal(labels.array, tiny.label_map_of(radius=4.0, core=3.0).array)
    assert image.array[labels.array > 0] == pytest.approx(0.8)
    host = tiny.label_map_of(radius=5.0).array
    assert image.array[host > 0] == pytest.approx(0.8)  # the host's own are covered as well
    assert image.array[0, 0, 0] == pytest.approx(0.2)


def test_the_seam_lies_at_the_margin_and_fades_over_its_width() -> None:
    """Along an axis from the middle: grey falls from the donor's to the host's about the margin."""
    image, _ = mixed(margin_mm=3.0)
    along = image.array[8:, 8, 8]
    assert (np.diff(along) <= 1e-6).all()
    half = np.interp(-0.5, -along[::1], 2.0 * (np.arange(8, 16) - 7.5))  # mm from the middle
    assert half == pytest.approx(2.0 * 5.0 + 3.0, abs=1.5)


def test_without_replace_the_hosts_structures_stay() -> None:
    settings = CopyPaste(structures=("core",), replace=False)
    _, labels = mixed(settings, margin_mm=0.5)
    host = tiny.label_map_of(radius=5.0, core=2.0).array
    donor = tiny.label_map_of(radius=4.0, core=3.0).array
    expected = np.where(donor == 2, 2, host)
    assert np.array_equal(labels.array, expected)


def cases_in(folder: Path) -> tuple[Case, ...]:
    """Return labelled cases whose image is noise."""
    result = []
    for number, case in enumerate(tiny.make_tiny_cases(folder / "labels", cores=(2.0, 2.5, 3.0))):
        rng = np.random.default_rng(number)
        image = folder / "images" / f"{case.case_id}.nii.gz"
        noise = rng.random(tiny.GRID.shape).astype(np.float32)
        write_image(image, Volume(noise, tiny.AFFINE))
        result.append(
            Case(case.case_id, case.subject_id, {"image": image}, case.label, case.source)
        )
    return tuple(result)


def test_a_cohort_names_host_and_donor_and_is_the_same_again(tmp_path: Path) -> None:
    cases = cases_in(tmp_path)
    for name in ("a", "b"):
        SETTINGS.make(Sources(cases, tiny.SCHEME, n=6, seed=1), out=tmp_path / name)
    made = [read_manifest(tmp_path / name) for name in ("a", "b")]
    assert check_cohort(tmp_path / "a") == []
    assert list(made[0]["image_sha256"]) == list(made[1]["image_sha256"])
    assert made[0]["image_sha256"].is_unique
    for row in made[0].to_dict("records"):
        host, donor = row["source_subject_ids"]
        assert host != donor
        label = read_label_map(tmp_path / "a" / row["label"], case_id="x")
        image = read_image(tmp_path / "a" / row["image"], case_id="x")
        assert set(np.unique(label.array)) == {0, 1, 2}
        assert image.shape == label.shape


def test_one_subject_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 1 labelled cases of one subject"):
        SETTINGS.make(Sources(cases_in(tmp_path)[:1], tiny.SCHEME, n=2), out=tmp_path / "a")
    bare = Volume(np.zeros(tiny.GRID.shape, dtype=np.uint16), tiny.AFFINE)
    with pytest.raises(DataError, match="none of the structures"):
        SETTINGS.blended(
            pair(5.0, 2.0, 0.2),
            (pair(4.0, 3.0, 0.8)[0], bare),
            scheme=tiny.SCHEME,
            margin_mm=1.0,
        )
