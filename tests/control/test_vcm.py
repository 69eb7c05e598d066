from pathlib import Path

import pytest
import tiny
import torch
from pydantic import ValidationError
from tiny import SCHEME, make_tiny_control, make_tiny_prior

from vcmaug.control.base import Control, load_control
from vcmaug.control.channels import one_hot_batch
from vcmaug.control.methods.vcm import VCM
from vcmaug.control.network import ModulatingNetwork
from vcmaug.errors import ModelError
from vcmaug.ldm.denoiser import Context, Encoded
from vcmaug.ldm.prior import Prior, load_prior

SETTINGS = VCM(
    encoder_channels=(4, 8),
    channels=(8, 16),
    num_res_blocks=1,
    num_head_channels=8,
    hidden_channels=8,
    norm_num_groups=4,
)


@pytest.fixture
def prior(tmp_path: Path) -> Prior:
    return load_prior(make_tiny_prior(tmp_path / "prior"))


def _ask(
    prior: Prior, control: Control, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, Context]:
    generator = torch.Generator().manual_seed(seed)
    z_t = torch.randn(2, *prior.spec.latent_shape, generator=generator)
    maps = (torch.rand(2, 2, 16, 16, 16, generator=generator) > 0.5).float()
    context = Context(scalars=torch.rand(2, 2, generator=generator), encoded=control.encode(maps))
    return z_t, torch.tensor([700, 700]), context


@pytest.mark.parametrize("switch", [{}, {"layout": True}, {"time_in_encoder": True}])
def test_a_new_control_returns_the_frozen_prediction_exactly(
    prior: Prior, switch: dict[str, bool]
) -> None:
    settings = SETTINGS.model_copy(update=switch)
    network = settings.network(prior.spec, num_structures=2)
    control = tiny.control_of(network, prior)
    z_t, t, context = _ask(prior, control)
    steered = control.steer(prior.denoiser)
    assert torch.equal(steered(z_t, t, context), prior.denoiser(z_t, t, context))


def test_a_new_control_learns_from_its_first_update(prior: Prior) -> None:
    network = SETTINGS.network(prior.spec, num_structures=2)
    generator = torch.Generator().manual_seed(0)
    z_t = torch.randn(1, *prior.spec.latent_shape, generator=generator)
    one_hot_map = (torch.rand(1, 2, 16, 16, 16, generator=generator) > 0.5).float()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(5):  # the heads move first, then layer by layer what is below them
        optimiser.zero_grad()
        steered, _ = network(lambda z, t, context: z, z_t, torch.tensor([5]), None, one_hot_map)
        ((steered.prediction - 1.0) ** 2).mean().backward()
        optimiser.step()
    moved = [p.grad is not None and float(p.grad.abs().max()) > 0 for p in network.parameters()]
    assert sum(moved) > 0.9 * len(moved)


def test_time_enters_the_encoder_only_if_asked(prior: Prior) -> None:
    """One map at two timesteps: the same features, or others."""
    one_hot_map = (torch.rand(1, 2, 16, 16, 16) > 0.5).float()
    for timed in (False, True):
        asked = SETTINGS.model_copy(update={"time_in_encoder": timed})
        encoder = asked.network(prior.spec, num_structures=2).encoder
        early, late = (encoder(one_hot_map, torch.tensor([t])) for t in (5, 900))
        assert torch.equal(early, late) is not timed
    with pytest.raises(ValidationError, match="layout wants an encoder without time"):
        VCM(layout=True, time_in_encoder=True)


def test_modulation_is_the_equation() -> None:
    class Known(ModulatingNetwork):
        def encode(self, shown: torch.Tensor) -> Encoded:
            return Encoded(())

        def modulation(self, *looked_at: torch.Tensor, **others: object):
            return torch.tensor([0.5]), torch.tensor([-1.0])

    asked = {"t": torch.tensor([5]), "context": Context(), "encoded": Encoded(())}
    for strength, expected in ((1.0, 2.0 * 1.5 - 1.0), (0.5, 2.0 * 1.25 - 0.5)):
        steered = Known().steered(
            lambda z, t, context: z, torch.tensor([2.0]), **asked, strength=strength
        )
        assert steered.prediction.item() == expected
        assert steered.penalty is not None
        assert steered.penalty.item() == 1.5


def _trained(tmp_path: Path, prior: Prior) -> Control:
    folder = make_tiny_control(tmp_path / "control", tmp_path / "prior")
    control = load_control(folder, prior=prior)
    assert isinstance(control, Control)
    return control


def test_strength_scales_what_the_control_adds(tmp_path: Path, prior: Prior) -> None:
    control = _trained(tmp_path, prior)
    z_t, t, context = _ask(prior, control)
    frozen = prior.denoiser(z_t, t, context)
    added = [control.steer(prior.denoiser, strength=s)(z_t, t, context) - frozen for s in (0, 1, 2)]
    assert torch.equal(added[0], torch.zeros_like(frozen))
    assert float(added[1].abs().max()) > 1e-3
    torch.testing.assert_close(added[2], 2 * added[1], rtol=1e-4, atol=1e-5)


def test_the_interval_switches_the_control_off(tmp_path: Path, prior: Prior) -> None:
    control = _trained(tmp_path, prior)
    z_t, _, context = _ask(prior, control)
    steered = control.steer(prior.denoiser, interval=(0.2, 0.6))
    for timestep, acts in ((100, False), (200, True), (599, True), (600, False)):
        t = torch.tensor([timestep] * 2)
        same = torch.equal(steered(z_t, t, context), prior.denoiser(z_t, t, context))
        assert same is not acts


def test_without_a_condition_the_prior_speaks(tmp_path: Path, prior: Prior) -> None:
    control = _trained(tmp_path, prior)
    z_t, t, context = _ask(prior, control)
    alone = Context(scalars=context.scalars)
    steered = control.steer(prior.denoiser)
    assert torch.equal(steered(z_t, t, alone), prior.denoiser(z_t, t, alone))


def test_the_condition_decides(tmp_path: Path, prior: Prior) -> None:
    control = _trained(tmp_path, prior)
    z_t, t, context = _ask(prior, control)
    empty = Context(context.scalars, control.encode(torch.zeros(2, 2, 16, 16, 16)))
    steered = control.steer(prior.denoiser)
    assert not torch.equal(steered(z_t, t, context), steered(z_t, t, empty))


def test_an_encoder_that_ends_on_another_grid_is_refused(prior: Prior) -> None:
    with pytest.raises(ModelError, match="shrinks by 8"):
        SETTINGS.model_copy(update={"encoder_channels": (4, 8, 8)}).network(
            prior.spec,
            num_structures=SCHEME.num_structures,
        )


def test_one_hot_channels_follow_the_scheme() -> None:
    import numpy as np

    indices = torch.from_numpy(SCHEME.channels(np.array([[[0, 1, 2]]])))
    channels = one_hot_batch(indices[None], SCHEME.num_structures)[0]
    assert channels.tolist() == [[[[0.0, 1.0, 0.0]]], [[[0.0, 0.0, 1.0]]]]
