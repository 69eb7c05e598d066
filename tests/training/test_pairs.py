"""Training pairs: what is mirrored with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vcmaug.control.methods.vcm import VCM
from vcmaug.control.shown import ChannelSettings
from vcmaug.data.case import Measured
from vcmaug.data.cases import Case
from vcmaug.data.geometry import Grid, reorient
from vcmaug.data.labels import LabelScheme
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.scalars import ScalarSpec
from vcmaug.data.seen import Seen
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import Prior, new_prior
from vcmaug.ldm.spec import AutoencoderSettings, DiffusionSettings, PriorSpec
from vcmaug.training.data import scalars_of
from vcmaug.training.pairs import Pairs, labelled_pairs
from vcmaug.training.prior import PriorJob
from vcmaug.training.settings import (
    ControlJob,
    ControlTraining,
    DiffusionTraining,
    PriorTraining,
)

SIDES = LabelScheme.from_mapping({"left_a": 1, "middle": 2, "right_a": 3})
PLAIN = ControlTraining(deformed_copies=0, flip=True)
HIDDEN = {
    "name": "modalities",
    "channels": ["label_map", "image"],
    "partial": {"image": {"remove": ["left_a"]}},
}


def _map() -> Volume:
    """Return a map in RAS: a large block on the left, a small one on the right, one between."""
    array = np.zeros((16, 16, 16), dtype=np.uint16)
    array[1:6, 4:12, 4:12] = 1
    array[7:9, 2:14, 2:14] = 2
    array[11:14, 5:9, 5:9] = 3
    return Volume(array, np.eye(4))


def _case(folder: Path, orientation: str) -> Case:
    """Return a case whose image is its map with noise, in some orientation."""
    label = _map()
    noise = np.random.default_rng(0).random(label.shape)
    image = Volume((0.1 * label.array + 0.1 * noise).astype(np.float32), label.affine)
    write_image(folder / "i.nii.gz", reorient(image, orientation))
    write_label_map(folder / "l.nii.gz", reorient(label, orientation))
    volumes = {"volume_left_a_mm3": 320.0, "volume_right_a_mm3": 48.0}
    return Case("k0", "s0", {"image": folder / "i.nii.gz"}, folder / "l.nii.gz", volumes)


def _prior(orientation: str) -> Prior:
    """Return a prior of random weights that reads the volume of the left structure."""
    spec = PriorSpec(
        name="tiny",
        grid=Grid(shape=(16, 16, 16), orientation=orientation),
        autoencoder=AutoencoderSettings(channels=(4, 8), latent_channels=2, norm_num_groups=4),
        diffusion=DiffusionSettings(
            channels=(8, 16), num_res_blocks=1, num_head_channels=8, norm_num_groups=4
        ),
        scalars=(ScalarSpec(name="left", low=0, high=320, structures=("left_a",)),),
    )
    torch.manual_seed(0)
    return new_prior(
        spec=spec,
        autoencoder=StemmedAutoencoder(spec),
        unet=ScalarUNet(spec),
        latent_scale=1.0,
        seen=Seen(),
        scalar_fill={"left": 100.0},
    )


def _pairs(
    folder: Path,
    orientation: str,
    settings: ControlTraining = PLAIN,
    shows: ChannelSettings | None = None,
) -> Pairs:
    case, prior = _case(folder, orientation), _prior(orientation)
    return labelled_pairs([case], prior=prior, job=_job(settings, shows))


def _job(
    settings: ControlTraining,
    shows: ChannelSettings | None = None,
    scheme: LabelScheme = SIDES,
) -> ControlJob:
    """Return the job of a control of some method."""
    return ControlJob(
        method=VCM(), scheme=scheme, settings=settings, shows=shows or ChannelSettings()
    )


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 0), ("LAS", 0), ("PIR", 2)])
def test_a_mirrored_pair_is_that_of_a_mirrored_head(
    tmp_path: Path, orientation: str, axis: int
) -> None:
    """What was left is on the right, and is called so; in the image, the map and the scalars."""
    pairs = _pairs(tmp_path, orientation)
    plain, turned = pairs.index_maps.numpy()
    channels = np.array([0, 3, 2, 1])
    np.testing.assert_array_equal(turned, channels[np.flip(plain, axis=axis)])
    assert [np.count_nonzero(one == 1) for one in (plain, turned)] == [320, 48]
    in_ras = reorient(Volume(turned, reorient(_map(), orientation).affine), "RAS").array
    assert not (in_ras[8:] == 1).any()  # the left is where it was
    assert pairs.scalars is not None
    assert pairs.scalars.flatten().tolist() == pytest.approx([1.0, 48 / 320])
    both = _pairs(tmp_path, orientation, PLAIN.model_copy(update={"flip": False}))
    torch.testing.assert_close(pairs.z[:1], both.z)
    assert not torch.equal(pairs.z[1], pairs.z[0])


def test_deformed_copies_have_the_scalars_of_their_own_maps_and_are_mirrored_with_them(
    tmp_path: Path,
) -> None:
    deform = {"max_displacement_mm": 2, "smoothness_mm": 3}
    settings = ControlTraining(deformed_copies=2, flip=True, **deform)
    pairs = _pairs(tmp_path, "RAS", settings)
    assert pairs.scalars is not None
    on_the_left = [np.count_nonzero(one == 1) for one in pairs.index_maps.numpy()]
    assert len(set(on_the_left[:3])) > 1  # deforming changed the volume
    expected = [min(one / 320, 1.0) for one in on_the_left]  # 320 is the end of the range
    assert pairs.scalars.flatten().tolist() == pytest.approx(expected)
    for plain, turned in zip(pairs.index_maps[:3], pairs.index_maps[3:], strict=True):
        assert torch.equal((turned == 3).flip(0), plain == 1)


def test_what_is_hidden_of_an_image_is_hidden_by_the_mirrored_map(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "RAS", shows=ChannelSettings(steps=[HIDDEN]))
    assert pairs.channels is not None
    for indices, (_, known) in zip(pairs.index_maps, pairs.channels, strict=True):
        assert torch.equal(known == 0, indices == 1)


def test_a_further_sequence_is_deformed_and_mirrored_with_its_case(tmp_path: Path) -> None:
    """It is the case's own map, so that its channel must follow the map of each pair."""
    case, prior = _case(tmp_path, "RAS"), _prior("RAS")
    shape = (_map().array > 0).astype(np.float32)
    write_image(tmp_path / "t2.nii.gz", Volume(shape, _map().affine))
    both = [replace(case, images={"image": case.image, "t2": tmp_path / "t2.nii.gz"}), case]
    names = ["label_map", "image", "t2"]
    settings = ControlTraining(deformed_copies=1, flip=True, max_displacement_mm=2)
    shows = ChannelSettings(steps=[{"name": "modalities", "channels": names}])
    pairs = labelled_pairs(both, prior=prior, job=_job(settings, shows))
    assert pairs.channels is not None
    assert pairs.channels.shape[1] == 4
    own = [
        0,
        2,
        4,
        6,
    ]  # plain and deformed, then both in a mirror; the other case lacks the sequence
    for number, (indices, further) in enumerate(zip(pairs.index_maps, pairs.channels, strict=True)):
        there = number in own
        assert float(further[3].min()) == float(further[3].max()) == float(there)
        if there:
            assert float(((further[2] > 0.5) != (indices > 0)).float().mean()) < 0.02
        else:
            assert not further[2].any()


def test_one_side_that_is_shown_alone_comes_from_the_other_in_a_mirror(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, "RAS", shows=ChannelSettings(structures=["left_a"]))
    assert [int((one == 1).sum()) for one in pairs.index_maps] == [320, 48]


def test_pairs_with_one_side_alone_are_not_mirrored(tmp_path: Path) -> None:
    case, prior = _case(tmp_path, "RAS"), _prior("RAS")
    scheme = LabelScheme.from_mapping({"left_a": 1})
    with pytest.raises(DataError, match="'left_a' has no 'right_a' to change places with"):
        labelled_pairs([case], prior=prior, job=_job(PLAIN, scheme=scheme))


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 0), ("PIR", 2)])
def test_images_of_a_prior_are_mirrored_along_the_same_axis(
    tmp_path: Path, orientation: str, axis: int
) -> None:
    prior = _prior(orientation)
    images = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    job = PriorJob(
        cases=[_case(tmp_path, orientation)],
        spec=prior.spec,
        settings=PriorTraining(diffusion=DiffusionTraining(flip=True)),
        seed=0,
        folder=tmp_path,
    )
    means = job._means(prior.autoencoder, images)
    torch.testing.assert_close(means[1:], prior.encode(images.flip(axis + 2)))


def test_scalars_of_structures_whose_sides_cannot_be_told_are_not_mirrored() -> None:
    spec = PriorSpec(
        name="heart",
        grid=Grid(shape=(8, 8, 8)),
        scalars=(ScalarSpec(name="left", low=0, high=9, structures=("LV",)),),
    )
    measured = Measured({"LV": 3.0, "RV": 5.0})
    case = Case("a", "a", {"image": Path("a.nii.gz")}, measured=measured)
    assert scalars_of([case, case], spec, fill={}).tolist() == [[pytest.approx(1 / 3)]] * 2
    with pytest.raises(DataError, match=r"1 fault\n.*'LV' and 'RV' differ by their side alone"):
        scalars_of([case, case], spec, fill={}, and_mirrored=True)


def test_scalars_of_columns_change_sides_in_a_mirror_or_are_refused() -> None:
    left = ScalarSpec(name="left", low=0, high=10, column="left_eye")
    age = ScalarSpec(name="age", low=0, high=100, column="age")
    spec = PriorSpec(name="eyes", grid=Grid(shape=(8, 8, 8)), scalars=(left, age))
    row = {"age": 40, "left_eye": 3.0, "right_eye": 5.0}
    case = Case("a", "a", {"image": Path("a.nii.gz")}, source=row)
    found = scalars_of([case], spec, fill={}, and_mirrored=True)
    torch.testing.assert_close(found, torch.tensor([[0.3, 0.4], [0.5, 0.4]]))
    alone = replace(case, source={"age": 40, "left_eye": 3.0})
    with pytest.raises(DataError, match="'left_eye' has no 'right_eye' to change places with"):
        scalars_of([alone], spec, fill={}, and_mirrored=True)
