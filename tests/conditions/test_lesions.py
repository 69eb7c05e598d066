"""Lesions of an atlas in a host: where they are put, what the rules leave, what is refused."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vcmaug.conditions.atlas import Atlas, AtlasSettings
from vcmaug.conditions.atlas_index import index_atlas, refuse_other_space
from vcmaug.conditions.base import Condition, SourceMap, as_it_is
from vcmaug.conditions.builders.lesions import LesionMixing, Lesions
from vcmaug.conditions.host import pushed_aside
from vcmaug.conditions.placement import AffinePlace, Placed, elastic_change, place, to_map
from vcmaug.data.geometry import reorient
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError, FaultyDataSet

SCHEME = LabelScheme.from_mapping({"grey": 1, "white": 2, "fluid": 3, "lesion": 7})
SHAPE = (40, 44, 36)


def ball(centre: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    places = np.indices(SHAPE, dtype=float)
    inside: NDArray[np.bool_] = (
        sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) < radius**2
    )
    return inside


def head() -> Volume:
    """Return a ball of grey around white around fluid, 1 mm."""
    array = np.where(ball((20, 22, 18), 16), 1, 0)
    array[ball((20, 22, 18), 13)] = 2
    array[ball((20, 22, 18), 4)] = 3
    return Volume(array.astype(np.uint16), np.eye(4))


HOST = SourceMap("h0", "h", head(), {})


@pytest.fixture
def atlas_folder(tmp_path: Path) -> Path:
    """Three subjects: one with two lesions, one with one on the left, one with a speck as well."""
    masks = {
        "a": ball((30, 22, 18), 3) | ball((24, 32, 18), 2),
        "b": ball((10, 22, 18), 3),
        "c": ball((28, 28, 20), 2.5) | ball((5, 5, 5), 1),
    }
    for name, mask in masks.items():
        path = tmp_path / "atlas" / f"{name}_lesion.nii.gz"
        write_label_map(path, Volume(mask.astype(np.uint16), np.eye(4)))
    return tmp_path / "atlas"


def settings(folder: Path, **changes: object) -> Lesions:
    asked = {"placement": "common", "inside": ("white",), "off": ("fluid",)} | changes
    return Lesions(atlas=AtlasSettings(source=folder, smallest_mm3=5), **asked)


def built(
    asked: Lesions, source: SourceMap = HOST, *, seed: int = 0, atlas: Atlas | None = None
) -> Condition:
    builder = LesionMixing(asked, SCHEME, atlas or index_atlas(asked.atlas))
    return builder.build(as_it_is(source, condition_id="c0"), seed=seed)


def test_the_index_knows_volume_centre_and_number_of_each_lesion(atlas_folder: Path) -> None:
    atlas = index_atlas(AtlasSettings(source=atlas_folder, smallest_mm3=5))
    assert dict(atlas.counts) == {"a": 2, "b": 1, "c": 1}
    left = next(one for one in atlas.lesions if one.subject_id == "b")
    np.testing.assert_allclose(left.centre_mm, (10, 22, 18), atol=1e-6)
    assert left.volume_mm3 == np.count_nonzero(ball((10, 22, 18), 3))
    assert left.crop.shape == (5, 5, 5)


def test_the_index_is_the_same_after_it_was_written(atlas_folder: Path, tmp_path: Path) -> None:
    atlas = index_atlas(AtlasSettings(source=atlas_folder))
    atlas.write(tmp_path / "atlas.npz")
    read = Atlas.read(tmp_path / "atlas.npz")
    assert read.table().equals(atlas.table())
    assert (read.counts, read.files, read.structures) == (
        atlas.counts,
        atlas.files,
        atlas.structures,
    )
    for one, other in zip(read.lesions, atlas.lesions, strict=True):
        assert np.array_equal(one.crop, other.crop)


def test_a_mask_that_lies_the_other_way_round_is_the_same_lesion(tmp_path: Path) -> None:
    """LAS on disk: the first axis runs to the left, the world place is the same."""
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[0, 3] = SHAPE[0] - 1
    mask = ball((10, 22, 18), 3)[::-1].astype(np.uint16)
    write_label_map(tmp_path / "b.nii.gz", Volume(mask, affine))
    lesion = index_atlas(AtlasSettings(source=tmp_path)).lesions[0]
    np.testing.assert_allclose(lesion.centre_mm, (10, 22, 18), atol=1e-6)
    placed = place(lesion, AffinePlace(np.eye(4)), SHAPE)
    assert placed is not None
    assert np.array_equal(in_grid(placed), ball((10, 22, 18), 3))


def in_grid(placed: Placed) -> NDArray[np.bool_]:
    whole = np.zeros(SHAPE, dtype=bool)
    whole[placed.box] = placed.classes > 0
    return whole


def test_in_a_common_space_a_lesion_is_where_it_was(atlas_folder: Path) -> None:
    made = built(settings(atlas_folder, donors="one", count=(1, 1), side="left", inside=()))
    assert np.array_equal(made.label_map.array == 7, ball((10, 22, 18), 3))
    assert np.array_equal(made.channels["lesion"].array == 1, ball((10, 22, 18), 3))
    assert made.source_subject_ids == ("h", "b")
    assert made.steps[0].parameters["lesions"][0]["lesion"].startswith("b/")


def test_a_placed_lesion_is_where_and_as_large_as_asked(atlas_folder: Path) -> None:
    """Scaled by 2 about a stated centre: eight times the volume, within the grid's coarseness."""
    atlas = index_atlas(AtlasSettings(source=atlas_folder))
    lesion = next(one for one in atlas.lesions if one.subject_id == "b")
    centre = np.array([21.0, 20.0, 17.0])
    matrix = to_map(lesion, affine=np.eye(4), centre_mm=centre, rotation=np.eye(3), scale=2.0)
    placed = place(lesion, AffinePlace(matrix), SHAPE)
    assert placed is not None
    found = in_grid(placed)
    np.testing.assert_allclose(np.argwhere(found).mean(axis=0), centre, atol=0.3)
    assert found.sum() == pytest.approx(8 * lesion.volume_mm3, rel=0.2)


@pytest.mark.parametrize("voxel_mm", [0.5, 1.0, 3.0])
def test_an_elastic_change_bends_a_lesion_and_does_more_than_move_it(
    atlas_folder: Path, voxel_mm: float
) -> None:
    lesion = index_atlas(AtlasSettings(source=atlas_folder)).lesions[0]
    lesion = replace(
        lesion,
        affine=lesion.affine @ np.diag([voxel_mm] * 3 + [1.0]),
        volume_mm3=lesion.volume_mm3 * voxel_mm**3,
    )
    found_mm = voxel_mm * elastic_change(lesion, (9, 8, 9), 1.0, np.random.default_rng(0))
    assert np.sqrt((found_mm**2).sum(axis=0)).max() <= 1.0 + 1e-5
    bent_mm = np.sqrt(((found_mm - found_mm.mean(axis=(1, 2, 3), keepdims=True)) ** 2).sum(axis=0))
    moved_mm = np.sqrt((found_mm.mean(axis=(1, 2, 3)) ** 2).sum())
    assert bent_mm.max() > moved_mm


@pytest.mark.parametrize("seed", range(6))
def test_sampled_lesions_keep_every_rule(atlas_folder: Path, seed: int) -> None:
    asked = settings(
        atlas_folder, placement="sampled", count=(2, 4), gap_mm=2.0, volume_mm3=(10, 150)
    )
    made = built(asked, seed=seed)
    before, after = HOST.label_map.array, made.label_map.array
    mask = after == 7
    assert set(np.unique(before[mask])) == {2}  # in white matter alone
    assert np.array_equal(before[~mask], after[~mask])  # the rest is as it was
    placed = made.steps[0].parameters["lesions"]
    assert 1 <= len(placed) <= 4
    assert sum(one["voxels"] for one in placed) == mask.sum()
    assert all(10 <= one["voxels"] <= 150 for one in placed)


def test_the_seed_decides_everything(atlas_folder: Path) -> None:
    asked = settings(atlas_folder, placement="sampled")
    one, same, other = (built(asked, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.label_map.array, same.label_map.array)
    assert one.steps == same.steps
    assert not np.array_equal(one.label_map.array, other.label_map.array)


def test_no_one_is_the_donor_of_himself(atlas_folder: Path) -> None:
    itself = SourceMap("h1", "b", head(), {})
    for seed in range(8):
        made = built(settings(atlas_folder, count=(1, 1)), itself, seed=seed)
        donor = made.steps[0].parameters["lesions"][0]["lesion"].split("/")[0]
        assert donor != "b"
    with pytest.raises(DataError, match="on the side left, and of another subject"):
        built(settings(atlas_folder, side="left"), itself)
    assert built(settings(atlas_folder, side="left", same_subject=True), itself)


def test_what_cannot_be_placed_is_refused_with_the_reasons(atlas_folder: Path) -> None:
    with pytest.raises(DataError, match=r"case h0: 5 draws placed fewer .* outside the tissue"):
        built(settings(atlas_folder, inside=("fluid",), off=()))


def test_a_hosts_own_lesions_are_filled_if_asked(atlas_folder: Path) -> None:
    """What was a lesion in white matter is white matter again; the new one alone is there."""
    array = head().array.copy()
    array[ball((12, 22, 18), 2)] = 7
    host = SourceMap("h0", "h", Volume(array, np.eye(4)), {})
    one = {"count": (1, 1), "side": "right"}
    kept = built(settings(atlas_folder, **one), host).label_map.array
    filled = built(settings(atlas_folder, keep_own=False, **one), host).label_map.array
    assert np.array_equal(kept[20:], filled[20:])
    assert (kept[:20] == 7).any()
    assert np.array_equal(filled[:20], head().array[:20])


def test_two_classes_of_one_lesion_stay_together(tmp_path: Path) -> None:
    scheme = LabelScheme.from_mapping({"grey": 1, "white": 2, "fluid": 3, "core": 7, "rim": 8})
    mask = np.where(ball((30, 22, 18), 4), 2, 0)
    mask[ball((30, 22, 18), 2)] = 1
    write_label_map(tmp_path / "a.nii.gz", Volume(mask.astype(np.uint16), np.eye(4)))
    asked = Lesions(
        atlas=AtlasSettings(source=tmp_path, values={"core": 1, "rim": 2}),
        placement="common",
        count=(1, 1),
    )
    builder = LesionMixing(asked, scheme, index_atlas(asked.atlas))
    made = builder.build(as_it_is(HOST, condition_id="c0"), seed=0)
    for value, expected in ((7, mask == 1), (8, mask == 2)):
        assert np.array_equal(made.label_map.array == value, expected & (head().array > 0))


def around(radius: float, size: int = 56) -> NDArray[np.bool_]:
    """Return a ball about the middle of a cube."""
    places = np.indices((size,) * 3) - (size - 1) / 2
    inside: NDArray[np.bool_] = (places**2).sum(axis=0) < radius**2
    return inside


def pushed(strength: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a map with a ball of radius 8 after a lesion of radius 9 grew in its middle."""
    array = np.where(around(8), 2, 1).astype(np.uint8)
    lesion = around(9)
    placed = Placed((slice(0, 56),) * 3, lesion.astype(np.uint8))
    after = pushed_aside(array, placed, strength=strength, spacing_mm=(1.0, 1.0, 1.0))
    return after, lesion


def test_tissue_that_is_pushed_aside_is_not_lost() -> None:
    """All that lay where the lesion grows lies around it afterwards; without a push it is gone."""
    for strength, expected in ((0.0, 0), (1.0, np.count_nonzero(around(8)))):
        after, lesion = pushed(strength)
        assert np.count_nonzero((after == 2) & ~lesion) == pytest.approx(expected, rel=0.15)


def test_the_push_of_a_ball_is_that_of_the_formula() -> None:
    """A voxel that was at distance d lies at (d^3 + R^3)^(1/3) afterwards."""
    after, lesion = pushed(1.0)
    places = np.argwhere((after == 2) & ~lesion) - 27.5
    outer = np.sqrt((places**2).sum(axis=1)).max()
    assert outer == pytest.approx((8**3 + 9**3) ** (1 / 3), abs=0.8)


def test_an_atlas_without_lesions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file matches"):
        index_atlas(AtlasSettings(source=tmp_path))
    write_label_map(tmp_path / "a.nii.gz", Volume(np.zeros(SHAPE, dtype=np.uint16), np.eye(4)))
    with pytest.raises(DataError, match="1 masks hold no lesion"):
        index_atlas(AtlasSettings(source=tmp_path))


def test_every_wrong_mask_is_named(tmp_path: Path) -> None:
    write_label_map(
        tmp_path / "a.nii.gz", Volume(5 * ball((9, 9, 9), 3).astype(np.uint16), np.eye(4))
    )
    (tmp_path / "b.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(FaultyDataSet) as caught:
        index_atlas(AtlasSettings(source=tmp_path))
    for found in ("a.nii.gz: found the values [5]", "b.nii.gz", "2 faults"):
        assert found in str(caught.value)


def test_a_lesion_outside_the_templates_head_names_the_file(
    atlas_folder: Path, tmp_path: Path
) -> None:
    image = Volume((head().array > 0).astype(np.float32), np.eye(4))
    write_image(tmp_path / "template.nii.gz", image)
    asked = AtlasSettings(source=atlas_folder, template=tmp_path / "template.nii.gz")
    assert len(index_atlas(asked).lesions) == 4
    away = Volume(ball((4, 4, 4), 3).astype(np.uint16), np.eye(4))
    write_label_map(atlas_folder / "d_lesion.nii.gz", away)
    with pytest.raises(FaultyDataSet, match=r"d_lesion.nii.gz: 0% of its lesion voxels lie in"):
        index_atlas(asked)


def test_another_spacing_or_another_space_needs_a_registration(
    atlas_folder: Path, tmp_path: Path
) -> None:
    atlas = index_atlas(AtlasSettings(source=atlas_folder))
    refuse_other_space(atlas, [HOST])
    coarse = SourceMap("h2", "h2", Volume(head().array, np.diag([2.0, 2, 2, 1])), {})
    with pytest.raises(FaultyDataSet, match=r"a_lesion.nii.gz: its voxels are \(1.0, 1.0, 1.0\)"):
        refuse_other_space(atlas, [coarse])
    moved = np.eye(4)
    moved[:3, 3] = 200
    away = SourceMap("h3", "h3", Volume(head().array, moved), {})
    with pytest.raises(FaultyDataSet, match=r"b_lesion.nii.gz: none of its 1 lesions lies in"):
        refuse_other_space(atlas, [away])


@pytest.mark.parametrize(("grown_mm", "is_refused"), [(0.0016, False), (0.003, True)])
def test_spacings_may_differ_by_a_tenth_of_a_voxel_at_the_far_corner(
    atlas_folder: Path, grown_mm: float, is_refused: bool
) -> None:
    """Of 44 voxels of 1 mm: 0.07 mm and 0.13 mm."""
    atlas = index_atlas(AtlasSettings(source=atlas_folder))
    host = SourceMap("h", "h", Volume(head().array, np.diag([1, 1 + grown_mm, 1, 1])), {})
    with pytest.raises(FaultyDataSet, match="its voxels are") if is_refused else nullcontext():
        refuse_other_space(atlas, [host])


def test_a_host_in_another_order_of_axes_has_the_same_voxels(tmp_path: Path) -> None:
    mask = Volume(ball((20, 22, 18), 3).astype(np.uint16), np.diag([1.0, 1, 2, 1]))
    write_label_map(tmp_path / "a_lesion.nii.gz", mask)
    atlas = index_atlas(AtlasSettings(source=tmp_path))
    turned = reorient(Volume(head().array, mask.affine), "PSL")
    refuse_other_space(atlas, [SourceMap("h", "h", turned, {})])


def test_a_table_of_masks_gives_subjects_and_leaves_other_roles_out(atlas_folder: Path) -> None:
    table = "mask,subject_id,role\na_lesion.nii.gz,p1,train\nb_lesion.nii.gz,p2,test\n"
    (atlas_folder / "atlas.csv").write_text(table)
    atlas = index_atlas(AtlasSettings(source=atlas_folder / "atlas.csv"))
    assert dict(atlas.counts) == {"p1": 2}
    (atlas_folder / "wrong.csv").write_text("file,subject\nx,y\n")
    with pytest.raises(DataError, match="no column 'mask', no column 'subject_id'; found 'file'"):
        index_atlas(AtlasSettings(source=atlas_folder / "wrong.csv"))
