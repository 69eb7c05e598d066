"""A control method defined here alone: from a recipe's name to a drawn volume."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from vcmaug import parts
from vcmaug.conditions.base import Target
from vcmaug.config import Settings, parse_settings
from vcmaug.control.base import load_control, write_control
from vcmaug.control.method import ControlMethod, control_method
from vcmaug.control.network import ControlNetwork, Steered
from vcmaug.control.shown import ALONE
from vcmaug.data.nifti import write_image
from vcmaug.data.volume import Volume
from vcmaug.errors import RecipeError
from vcmaug.generate.drawer import Drawer
from vcmaug.generate.noise import Noise
from vcmaug.generate.samplers import DDIM
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded
from vcmaug.ldm.prior import load_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.training.control import train_control
from vcmaug.training.settings import ControlJob, ControlTraining


class _GainNetwork(ControlNetwork):
    """Adds a learnt multiple of the share of structures; nothing at first."""

    def __init__(self, num_structures: int, spec: PriorSpec) -> None:
        super().__init__()
        latent, *cells = spec.latent_shape
        self.pool = nn.AdaptiveAvgPool3d(tuple(cells))
        self.mix = nn.Conv3d(num_structures, latent, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def encode(self, channels: Tensor) -> Encoded:
        return Encoded((self.pool(channels),))

    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        frozen = denoiser(z_t, t, context)
        return Steered(frozen + strength * self.mix(*encoded.features), frozen)


@pytest.fixture(scope="module")
def gain() -> Iterator[type[ControlMethod]]:
    """The method; no other test knows it."""

    class Gain(ControlMethod):
        """A gain."""

        name: Literal["gain"] = "gain"

        def network(
            self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
        ) -> ControlNetwork:
            return _GainNetwork(num_structures, spec)

    yield Gain
    del parts._KNOWN["control"]["gain"]


class _Recipe(Settings):
    network: ControlMethod


def test_it_is_found_by_its_name(gain: type[ControlMethod]) -> None:
    assert control_method("gain") == gain(name="gain")
    assert "gain" in ControlMethod.parts()
    assert not control_method("gain").expects_latents


def test_it_is_trained_written_loaded_and_draws(tmp_path: Path, gain: type[ControlMethod]) -> None:
    prior = load_prior(tiny.make_tiny_prior(tmp_path / "prior"))
    cases = []
    for case in tiny.make_tiny_cases(tmp_path / "cases"):
        path = tmp_path / f"{case.case_id}.nii.gz"
        image = np.random.default_rng(0).random(tiny.GRID.shape, dtype=np.float32)
        write_image(path, Volume(image, tiny.AFFINE))
        cases.append(replace(case, images={"image": path}))
    settings = ControlTraining(updates=3, batch_size=2, deformed_copies=0)
    job = ControlJob(method=gain(name="gain"), scheme=tiny.SCHEME, settings=settings)
    trained = train_control(cases, prior=prior, job=job, folder=tmp_path / "work")
    write_control(tmp_path / "control", trained)
    control = load_control(tmp_path / "control", prior=prior)
    assert any(bool(weight.any()) for weight in control.network.parameters())
    target = Target(label_map=tiny.label_map_of(radius=5.0), scalars={"age": 40.0})
    images = Drawer(prior, control, sampler=DDIM(steps=2))([target], Noise(0, ["first"]))
    plain = Drawer(prior, None, sampler=DDIM(steps=2))([target], Noise(0, ["first"]))
    assert images.shape == (1, *tiny.GRID.shape)
    assert not np.array_equal(images, plain)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"method": "vcm"}, "'method' is called 'name' now"),
        ({"name": "vcn"}, "unknown control 'vcn'; did you mean 'vcm'"),
        ({"name": "vcm", "layot": True}, "did you mean 'layout'"),
        ({"layout": True}, "it has no name; known are controlnet"),
    ],
)
def test_what_a_recipe_misspells_is_answered(content: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        parse_settings(_Recipe, {"network": content}, source="recipe")


def test_all_channels_are_one_image_to_all_but_the_vcm(tmp_path: Path) -> None:
    spec = load_prior(tiny.make_tiny_prior(tmp_path / "prior")).spec
    method = control_method({"name": "mcm", **tiny.SMALL["mcm"]})
    network = method.network(spec, num_structures=2, names=("label_map", "lowres"))
    with torch.no_grad():
        (features,) = network.encode(torch.zeros(1, 5, 16, 16, 16)).features
    assert features.shape[1] == 5  # two structures, their mask, a value and its mask


def test_the_small_networks_of_the_tests_are_of_every_method_of_the_toolkit() -> None:
    own = {
        name
        for name, part in ControlMethod.parts().items()
        if part.__module__.startswith("vcmaug.")
    }
    assert own == set(tiny.SMALL)
