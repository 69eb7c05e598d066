"""Channels of a condition: subsets, what is absent, partial images, thick slices."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tiny

from vcmaug.conditions.base import Condition, SourceMap, as_it_is
from vcmaug.conditions.builders.lowres import LowRes, slice_weights
from vcmaug.conditions.builders.modalities import Modalities, subsets_of
from vcmaug.conditions.builders.perturb import Perturb
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError


@pytest.fixture
def source(tmp_path: Path) -> SourceMap:
    """A case whose image is its label map, halved, and which has a second image."""
    label_map = tiny.label_map_of(radius=6.0)
    rng = np.random.default_rng(0)
    volumes = {"image": label_map.array / 2, "flair": rng.random(label_map.shape)}
    paths = {}
    for name, array in volumes.items():
        paths[name] = tmp_path / f"{name}.nii.gz"
        write_image(paths[name], Volume(array.astype(np.float32), label_map.affine))
    return SourceMap("k0", "s0", label_map, {}, paths)


def start(source: SourceMap, turn: int = 0) -> Condition:
    return as_it_is(source, condition_id="c0", turn=turn)


def shown(source: SourceMap, turn: int = 0, seed: int = 0, **settings: object) -> Condition:
    asked = Modalities(**settings)
    return asked.ready(tiny.SCHEME).build(start(source, turn), seed=seed)


def test_every_subset_of_at_most_two_is_listed_once() -> None:
    asked = Modalities(channels=("label_map", "lesion", "flair"), subsets="at-most-2")
    found = subsets_of(asked)
    assert len(found) == len(set(found)) == 6
    assert {len(subset) for subset in found} == {1, 2}
    each = Modalities(channels=("label_map", "flair"), subsets="each")
    assert subsets_of(each) == (("label_map",), ("flair",))


def test_subsets_take_turns_and_the_record_says_which_channels_are_there(source: SourceMap) -> None:
    channels = ("label_map", "image", "flair")
    made = [shown(source, turn, channels=channels, subsets="each") for turn in range(4)]
    assert [dict(one.presence) for one in made[:3]] == [
        {name: name == chosen for name in channels} for chosen in channels
    ]
    assert made[3].presence == made[0].presence
    assert [set(one.channels) for one in made[:3]] == [set(), {"image"}, {"flair"}]


def test_a_channel_that_a_case_lacks_is_absent_and_not_zero(source: SourceMap) -> None:
    made = shown(source, channels=("label_map", "flair", "t2"), subsets="all")
    assert dict(made.presence) == {"label_map": True, "flair": True, "t2": False}
    assert set(made.channels) == {"flair"}
    with pytest.raises(DataError, match="case k0 has none of the channels t2"):
        shown(source, channels=("t2",), subsets="all")


def test_the_empty_subset_shows_nothing(source: SourceMap) -> None:
    made = shown(source, channels=("label_map", "flair"), subsets=[[], ["flair"]])
    assert dict(made.presence) == {"label_map": False, "flair": False}
    assert made.channels == {}


def test_probabilities_are_reached_and_no_draw_is_empty(source: SourceMap) -> None:
    asked = {"channels": ("label_map", "flair"), "subsets": {"label_map": 0.3, "flair": 0.5}}
    drawn = [shown(source, seed=seed, **asked).presence for seed in range(400)]
    assert all(any(one.values()) for one in drawn)
    share = np.mean([one["label_map"] for one in drawn])
    assert share == pytest.approx(0.3 / (1 - 0.7 * 0.5), abs=0.08)  # given that one is there


def test_a_partial_image_hides_a_structure_and_says_what_is_known(source: SourceMap) -> None:
    made = shown(source, channels=("image",), partial={"image": {"remove": ["core"]}})
    core = source.label_map.array == 2
    assert np.array_equal(made.channels["image_known"].array == 0, core)
    assert (made.channels["image"].array[core] == 0).all()
    kept = made.channels["image"].array[~core]
    np.testing.assert_allclose(kept, source.label_map.array[~core] / 2, atol=1e-4)


def test_an_image_follows_a_deformation_of_its_map(source: SourceMap) -> None:
    settings = Perturb(max_displacement_mm=3, smoothness_mm=8, flip_probability=0.5)
    for seed in range(4):
        deformed = settings.ready(tiny.SCHEME).build(start(source), seed=seed)
        asked = Modalities(channels=("image",))
        image = asked.ready(tiny.SCHEME).build(deformed, seed=0).channels["image"].array
        assert (np.rint(2 * image) == deformed.label_map.array).mean() > 0.95


def test_an_image_that_cannot_follow_is_refused(source: SourceMap) -> None:
    settings = Perturb(max_displacement_mm=1, resize={"core": {"change": 0.3}})
    deformed = settings.ready(tiny.SCHEME).build(start(source), seed=0)
    with pytest.raises(DataError, match="cannot follow what perturb did"):
        Modalities(channels=("image",)).ready(tiny.SCHEME).build(deformed, seed=0)


@pytest.mark.parametrize("wrong", ["some", "at-most-0", "at-most-x", [], {"flair": 2.0}, {}])
def test_subsets_that_mean_nothing_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        Modalities(channels=("flair",), subsets=wrong)


@pytest.mark.parametrize("profile", ["box", "gaussian"])
@pytest.mark.parametrize("spacing_mm", [2.0, 5.0, 7.3])
def test_slices_weigh_one_and_keep_a_ramp(profile: str, spacing_mm: float) -> None:
    """A symmetric profile reads a ramp at the slice's centre, away from the border."""
    centres, weights = slice_weights(
        48, voxel_mm=2.0, spacing_mm=spacing_mm, thickness_mm=spacing_mm, profile=profile
    )
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    inner = (centres > 8) & (centres < 39)
    np.testing.assert_allclose((weights @ np.arange(48.0))[inner], centres[inner], atol=0.02)
    np.testing.assert_allclose(np.diff(centres), spacing_mm / 2)


def thick(source: SourceMap, seed: int = 0, **settings: object) -> Condition:
    asked = LowRes(**settings)
    return asked.ready(tiny.SCHEME).build(start(source), seed=seed)


def test_slices_of_one_voxel_are_the_image(source: SourceMap) -> None:
    made = thick(source, image="flair", spacing_mm=2.0)
    image = np.random.default_rng(0).random(source.label_map.shape)
    np.testing.assert_allclose(made.channels["lowres"].array, image, atol=1e-4)
    assert "lowres_known" not in made.channels


def test_thick_slices_are_the_mean_of_their_voxels(source: SourceMap) -> None:
    made = thick(source, image="flair", spacing_mm=4.0, axis="z", back="nearest")
    image = np.random.default_rng(0).random(source.label_map.shape)
    pairs = image.reshape(*image.shape[:2], -1, 2).mean(axis=3)
    np.testing.assert_allclose(made.channels["lowres"].array[..., ::2], pairs, atol=1e-4)
    assert made.steps[0].parameters["spacing_mm"] == 4.0
    assert made.steps[0].checks["slices"] == image.shape[2] / 2


def test_a_slab_and_its_gaps_are_marked_as_known(source: SourceMap) -> None:
    made = thick(source, spacing_mm=8.0, axis="z", thickness=0.4, slab=0.5, hide_gaps=True)
    known = made.channels["lowres_known"].array[0, 0]
    assert 0 < known.sum() < len(known) / 2
    assert (made.channels["lowres"].array[..., known == 0] == 0).all()


def test_slices_thinner_than_voxels_are_refused(source: SourceMap) -> None:
    with pytest.raises(DataError, match=r"slices 1 mm apart on voxels of 2 mm; expected 2 mm"):
        thick(source, spacing_mm=1.0)
    with pytest.raises(DataError, match="case k0: it has no image 't2'"):
        thick(source, image="t2", spacing_mm=4.0)


def test_an_image_that_was_not_prepared_is_refused(source: SourceMap) -> None:
    array = np.zeros(source.label_map.shape)
    array[0] = 300.0
    raw = nib.Nifti1Image(array, source.label_map.affine)
    nib.save(raw, source.images["flair"])
    with pytest.raises(DataError, match=r"case k0, .* between 0 and 300, expected 0 to 1"):
        thick(source, image="flair", spacing_mm=4.0)
