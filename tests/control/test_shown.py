"""Several channels of a condition: any subset of them, and none."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from vcmaug.conditions.base import Target
from vcmaug.control.base import Control
from vcmaug.control.channels import channels_of, one_hot_batch
from vcmaug.control.method import control_method
from vcmaug.control.shown import ALONE, ChannelSettings, parts_of, stacked_channels
from vcmaug.data.cases import Case
from vcmaug.data.nifti import write_image, write_label_map
from vcmaug.data.volume import Volume
from vcmaug.errors import ModelError
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.training.data import channel_batch
from vcmaug.training.pairs import labelled_pairs
from vcmaug.training.settings import ControlJob, ControlTraining

NAMES = ("label_map", "image", "lesion")
PARTIAL = {
    "name": "modalities",
    "channels": ["label_map", "image"],
    "partial": {"image": {"remove": ["core"]}},
}


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return load_prior(tiny.make_tiny_prior(tmp_path_factory.mktemp("prior") / "prior"))


def stirred(prior: Prior, *, layout: bool) -> Control:
    """Return a control of three channels with no weight at its initial zero."""
    torch.manual_seed(0)
    settings = control_method({**tiny.VCM, "layout": layout})
    network = settings.network(prior.spec, num_structures=2, names=NAMES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return tiny.control_of(network, prior)


def volumes(seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a label map, an image and a lesion mask."""
    rng = np.random.default_rng(seed)
    image = rng.random((16, 16, 16)).astype(np.float32)
    lesion = (rng.random((16, 16, 16)) > 0.9).astype(np.float32)
    return tiny.label_map_of(radius=6.0).array, {"image": image, "lesion": lesion}


def shown_to(
    names: tuple[str, ...], presence: dict[str, bool], channels: dict[str, np.ndarray]
) -> torch.Tensor:
    """Return what a control of these channels is shown of a condition, [1, C, X, Y, Z]."""
    volumes = {name: Volume(array, tiny.AFFINE) for name, array in channels.items()}
    target = Target(tiny.label_map_of(radius=6.0), {}, volumes, presence)
    shows = ChannelSettings(steps=[{"name": "modalities", "channels": list(names)}])
    assert shows.names == names
    return channels_of([target], shows=shows, scheme=tiny.SCHEME)


def shown(presence: dict[str, bool], seed: int = 0) -> torch.Tensor:
    return shown_to(NAMES, presence, volumes(seed)[1])


def test_a_channel_lies_where_its_part_says_and_ends_in_its_mask() -> None:
    label_map, channels = volumes()
    known = np.zeros((16, 16, 16), dtype=np.uint8)
    known[:8] = 1
    made = shown_to(NAMES, {}, {"image": channels["image"], "image_known": known})[0].numpy()
    parts = parts_of(NAMES, 2)
    assert made.shape == (7, 16, 16, 16)
    assert np.array_equal(made[parts["label_map"]][1], label_map == 2)
    assert (made[parts["label_map"]][2] == 1).all()
    assert np.array_equal(made[parts["image"]][0, :8], channels["image"][:8])
    assert not made[parts["image"]][:, 8:].any()
    assert not made[parts["lesion"]].any()  # absent: unknown everywhere


@pytest.mark.parametrize("layout", [False, True])
def test_any_subset_steers_and_an_absent_channel_does_not(prior: Prior, layout: bool) -> None:
    control = stirred(prior, layout=layout)
    z_t = torch.randn(1, *prior.spec.latent_shape, generator=torch.Generator().manual_seed(0))
    t, scalars = torch.tensor([400]), torch.rand(1, 2)

    def drawn(presence: dict[str, bool], seed: int = 0) -> torch.Tensor:
        context = Context(scalars, control.encode(shown(presence, seed)))
        return control.steer(prior.denoiser)(z_t, t, context)

    frozen = prior.denoiser(z_t, t, Context(scalars))
    subsets = [dict(zip(NAMES, kept, strict=True)) for kept in np.ndindex(2, 2, 2) if any(kept)]
    found = [drawn({name: bool(there) for name, there in subset.items()}) for subset in subsets]
    for number, one in enumerate(found):
        assert not torch.allclose(one, frozen, atol=1e-4)
        assert all(not torch.allclose(one, other, atol=1e-5) for other in found[:number])
    alone = {"label_map": True, "image": False, "lesion": False}
    assert torch.equal(drawn(alone, seed=0), drawn(alone, seed=1))  # other image, other lesion
    nothing = dict.fromkeys(NAMES, False)
    assert torch.equal(drawn(nothing), frozen)


def test_nothing_shown_is_expected_to_be_the_mean(prior: Prior) -> None:
    control = stirred(prior, layout=True)
    nothing = control.encode(shown(dict.fromkeys(NAMES, False))).expected
    assert nothing is not None
    assert torch.equal(nothing, control.network.get_submodule("layout").get_buffer("mean"))


def test_a_case_that_lacks_a_channel_is_shown_another() -> None:
    """With most dropped, what stays is always one of the two that the case has."""
    one_hot, further = torch.ones(2000, 2, 1, 1, 1), torch.ones(2000, 4, 1, 1, 1)
    further[:, 2:] = 0.0  # value and mask of the last channel
    made = channel_batch(
        one_hot, further, names=NAMES, drop=0.8, generator=torch.Generator().manual_seed(0)
    )
    there = torch.stack([made[:, k, 0, 0, 0] for k in (2, 4, 6)], dim=1)
    assert (there[:, :2].sum(dim=1) >= 1).all()
    assert there[:, 2].sum() == 0
    for channel in there[:, :2].unbind(dim=1):
        assert float(1 - channel.mean()) == pytest.approx(0.8 - 0.8**2 / 2, abs=0.03)


@pytest.mark.parametrize("drop", [0.3, 0.5])
def test_training_leaves_channels_out_but_never_all(drop: float) -> None:
    """A channel is out as often as asked, but for the third of those rows that lack all three."""
    one_hot, further = torch.ones(8000, 2, 1, 1, 1), torch.ones(8000, 4, 1, 1, 1)
    made = channel_batch(
        one_hot, further, names=NAMES, drop=drop, generator=torch.Generator().manual_seed(0)
    )
    there = torch.stack([made[:, k, 0, 0, 0] for k in (2, 4, 6)], dim=1)  # the masks
    assert made.shape[1] == 7
    assert (there.sum(dim=1) >= 1).all()
    for channel in there.unbind(dim=1):
        assert float(1 - channel.mean()) == pytest.approx(drop - drop**3 / 3, abs=0.02)
    again = channel_batch(
        one_hot, further, names=NAMES, drop=drop, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(again, made)
    assert torch.equal(
        channel_batch(one_hot, None, names=ALONE, drop=0.5, generator=torch.Generator()), one_hot
    )


@pytest.mark.parametrize(
    "names", [names for k in (1, 2, 3) for names in itertools.permutations(NAMES, k)][1:]
)
def test_training_shows_what_drawing_shows(names: tuple[str, ...]) -> None:
    """Whatever the order of the channels, and with the label map among them or not."""
    label_map, channels = volumes()
    drawn = shown_to(names, {}, channels)
    one_hot = one_hot_batch(torch.from_numpy(tiny.SCHEME.channels(label_map))[None], 2)
    further = torch.from_numpy(stacked_channels(channels, names, label_map.shape))[None]
    trained = channel_batch(one_hot, further, names=names, drop=0.0, generator=torch.Generator())
    assert torch.equal(trained, drawn)


def test_a_channel_of_which_nothing_is_known_is_no_error() -> None:
    one_hot, further = torch.ones(2, 2, 1, 1, 1), torch.zeros(2, 2, 1, 1, 1)
    made = channel_batch(one_hot, further, names=("image",), drop=0.5, generator=torch.Generator())
    assert torch.equal(made, further)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Two cases whose images are noise."""
    made = []
    for number, radius in enumerate((5.0, 6.0)):
        label_map = tiny.label_map_of(radius=radius)
        rng = np.random.default_rng(number)
        image = Volume(rng.random((16, 16, 16)).astype(np.float32), label_map.affine)
        paths = tmp_path / f"i{number}.nii.gz", tmp_path / f"l{number}.nii.gz"
        write_image(paths[0], image)
        write_label_map(paths[1], label_map)
        row = {"age": 40.0, "volume_core_mm3": 900.0}
        made.append(Case(f"k{number}", f"s{number}", {"image": paths[0]}, paths[1], row))
    return made


def job(settings: ControlTraining, shows: ChannelSettings) -> ControlJob:
    """Return the job of a control that is shown some channels."""
    return ControlJob(
        method=control_method(tiny.VCM), scheme=tiny.SCHEME, settings=settings, shows=shows
    )


def test_the_channels_of_a_training_pair_follow_its_image_and_map(
    prior: Prior, cases: list[Case]
) -> None:
    settings = ControlTraining(deformed_copies=1, max_displacement_mm=3, smoothness_mm=6, flip=True)
    shows = ChannelSettings(steps=[PARTIAL])
    assert shows.names == ("label_map", "image")
    pairs = labelled_pairs(cases, prior=prior, job=job(settings, shows))
    assert pairs.channels is not None
    assert pairs.channels.shape == (8, 2, 16, 16, 16)
    hidden = pairs.index_maps == 2
    assert not pairs.channels[:, 1][hidden].any()
    assert (pairs.channels[:, 1][~hidden] == 1).all()
    assert not pairs.channels[:, 0][hidden].any()
    assert pairs.channels[:, 0][~hidden].any()


def test_a_control_may_be_shown_some_structures_alone(prior: Prior, cases: list[Case]) -> None:
    shows = ChannelSettings(structures=["core"])
    settings = ControlTraining(deformed_copies=0, flip=False)
    whole, part = (
        labelled_pairs(cases, prior=prior, job=job(settings, some))
        for some in (ChannelSettings(), shows)
    )
    place = tiny.SCHEME.names.index("core") + 1
    assert torch.equal(part.index_maps == 1, whole.index_maps == place)
    assert int(part.index_maps.max()) == 1
    with pytest.raises(ModelError, match=r"\['lesion'\] are not among"):
        ChannelSettings(structures=["lesion"]).part_of(tiny.SCHEME)


def test_every_pair_has_slices_of_its_own(prior: Prior, cases: list[Case]) -> None:
    """Slabs lie elsewhere from pair to pair, and where they did when asked again."""
    steps = [{"name": "lowres", "spacing_mm": 2, "slab": 0.2}]
    shows, settings = ChannelSettings(steps=steps), ControlTraining(deformed_copies=5, flip=True)
    known = []
    for _ in range(2):
        pairs = labelled_pairs(cases, prior=prior, job=job(settings, shows))
        assert pairs.channels is not None
        known.append(pairs.channels[:, 1, 0, 0, :])  # of each of 24 pairs, along z
    assert torch.equal(*known)
    assert len({tuple(row.tolist()) for row in known[0]}) > 3
