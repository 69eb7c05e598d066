"""Background honesty: masked heads stay masked when they are decoded and drawn."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import ndimage
from tiny import make_tiny_prior

from vcmaug.conditions.base import Target
from vcmaug.control.base import load_control
from vcmaug.data.nifti import read_label_map
from vcmaug.data.prepare import prepare
from vcmaug.data.readers.folder import Folder
from vcmaug.data.scalars import raw_value
from vcmaug.data.source import DataSettings
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.noise import Noise
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.background import measure_foreground, without_background
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.ldm.texture import measure_texture
from vcmaug.training.data import read_images
from vcmaug.zoo import model_folder

RECIPE = Path(__file__).parents[2] / "recipes" / "brain-mini"
SHAPE = (24, 28, 24)


def _noise(seed: int) -> torch.Tensor:
    return torch.rand((6, 1, *SHAPE), generator=torch.Generator().manual_seed(seed))


def _balls() -> torch.Tensor:
    """Return textured balls of about 9 voxels with a hole of zeros in each, on exact zeros."""
    axes = [torch.arange(size) - (size - 1) / 2 for size in SHAPE]
    away = torch.stack(torch.meshgrid(*axes, indexing="ij")).pow(2).sum(dim=0).sqrt()
    inside = (away < 9) & (away > 3)
    return inside * (0.3 + 0.5 * _noise(0))


def _decoded() -> torch.Tensor:
    """Return the balls as a decoder gives them: off by up to 0.05 everywhere."""
    return _balls() + 0.1 * (_noise(1) - 0.5)


def test_a_value_tells_masked_images_from_what_a_decoder_leaves_around_them() -> None:
    above = measure_foreground(_balls(), _decoded())
    assert above is not None
    assert 0.05 <= above <= 0.3
    drawn = without_background(_decoded().clamp(0, 1), _decoded(), above=above)
    edge = torch.from_numpy(ndimage.binary_dilation((_balls()[0, 0] > 0).numpy(), iterations=2))
    filled = torch.from_numpy(ndimage.binary_fill_holes((_balls()[0, 0] > 0).numpy()))
    assert float(drawn[:, :, ~(edge | filled)].abs().max()) == 0.0
    assert torch.equal(drawn[:, :, filled], _decoded().clamp(0, 1)[:, :, filled])


def test_images_that_fill_their_grid_have_no_such_value() -> None:
    crops = _noise(0)
    crops[crops < 0.005] = 0.0  # what percentiles leave
    assert measure_foreground(crops, crops) is None
    one_fills = torch.cat([_balls(), crops[:1]])
    assert measure_foreground(one_fills, one_fills) is None


def test_a_decoder_that_has_learnt_nothing_gives_no_value() -> None:
    assert measure_foreground(_balls(), torch.full((6, 1, *SHAPE), 0.4)) is None
    assert measure_foreground(_balls(), torch.zeros((6, 1, *SHAPE))) is None


def test_a_second_part_of_every_image_is_not_lost() -> None:
    """The table beneath a body, say: the value is low enough to keep it, or there is none."""
    balls = _balls()
    balls[:, :, 2:22, 2:24, 1] = 0.5
    above = measure_foreground(balls, balls)
    kept = balls if above is None else without_background(balls, balls, above=above)
    assert torch.equal(kept, balls)


def test_what_is_broken_is_left_for_the_checks() -> None:
    broken, dark = _decoded(), torch.full((1, 1, *SHAPE), 0.01)
    broken[0, 0, 12, 4, 12] = torch.nan
    assert without_background(broken, broken, above=0.1)[0].isnan().sum() == 1
    assert torch.equal(without_background(dark, dark, above=0.1), dark)


class _Decoder(torch.nn.Module):
    """An autoencoder that gives the balls back with its errors."""

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return _decoded()[: len(z)]


def test_a_prior_of_masked_images_decodes_zeros_around_them(tmp_path: Path) -> None:
    prior = replace(load_prior(make_tiny_prior(tmp_path)), autoencoder=_Decoder())
    z = torch.zeros(2, *prior.spec.latent_shape)
    outside = ~torch.from_numpy(
        ndimage.binary_dilation(
            ndimage.binary_fill_holes((_balls()[0, 0] > 0).numpy()), iterations=2
        )
    )
    assert (prior.decode(z)[:, :, outside] > 0).float().mean() > 0.4  # half of the errors
    masked = replace(prior, card=prior.card.model_copy(update={"foreground_above": 0.2}))
    textured = replace(masked, texture=measure_texture(_balls(), _decoded()))
    for drawn in (masked.decode(z), textured.decode(z, _noise(2)[:2])):
        assert float(drawn[:, :, outside].abs().max()) == 0.0
        assert float(drawn.max()) > 0.5


def test_texture_is_drawn_only_where_a_foreground_head_shows_something(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path))
    settings = prior.spec.autoencoder.model_copy(update={"foreground": True})

    class Headed(torch.nn.Module):
        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return _balls()[: len(z)]

    headed = replace(
        prior,
        spec=prior.spec.model_copy(update={"autoencoder": settings}),
        autoencoder=Headed(),
        texture=measure_texture(_balls(), _decoded()),
    )
    drawn = headed.decode(torch.zeros(2, *prior.spec.latent_shape), _noise(2)[:2])
    assert float(drawn[_balls()[:2] == 0].abs().max()) == 0.0
    assert not torch.equal(drawn, _balls()[:2].clamp(0, 1))


@pytest.mark.data
def test_drawn_heads_are_zero_outside(ixi: Path, tmp_path: Path) -> None:
    """At most 0.1 % of the voxels farther than two from the filled label map are above 0."""
    settings = DataSettings(
        source=str(ixi),
        format=Folder(
            images="t1/{case}_T1.nii.gz",
            labels="labels/{case}_DLMUSE.nii.gz",
            table="participants.csv",
            table_key="id",
        ),
        scheme={"csf": 1, "grey_matter": 2, "white_matter": 3, "ventricles": 4},
        label_values_file=str(RECIPE / "tissue4.csv"),
        grid={"shape": (40, 48, 40), "spacing_mm": (4, 4, 4)},
        intensity={"over": "nonzero"},
        max_cases=16,
    )
    train = set(json.loads((RECIPE / "splits.json").read_text())["train"])
    cases = [case for case in prepare(settings, tmp_path) if case.subject_id in train]
    prior = Prior.load("zoo:brain-mini-4mm")
    images = read_images(cases)
    assert prior.card.foreground_above == measure_foreground(
        images, prior.autoencoder.decode(prior.encode(images) / prior.latent_scale)
    )
    control = load_control(model_folder("zoo:brain-mini-4mm/tissue4"), prior=prior)
    targets = [
        Target(
            label_map=read_label_map(case.files["label"], case_id=case.case_id),
            scalars={one.name: raw_value(one, case.columns) for one in prior.spec.scalars},
            condition_id=case.case_id,
        )
        for case in cases
    ]
    drawer = Drawer(prior, control, sampler=DDIM(steps=5, start=0.65), strength=1.5)
    drawn = drawer(targets, Noise(0, [target.condition_id for target in targets]))
    for image, target in zip(drawn, targets, strict=True):
        assert target.label_map is not None
        head = ndimage.binary_fill_holes(target.label_map.array > 0)
        far = ~ndimage.binary_dilation(head, iterations=2)
        assert (image[far] > 0).mean() < 1e-3
        assert (image[head] > 0).mean() > 0.999
