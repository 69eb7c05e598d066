"""Every control: how many parameters, the identity at first, learning, the prior untouched."""

from pathlib import Path

import pytest
import tiny
import torch
from monai.networks.nets import DiffusionModelUNet
from tiny import make_tiny_prior

from vcmaug.control.method import control_method
from vcmaug.control.network import ControlNetwork
from vcmaug.control.networks.vcm import AnyGridUNet
from vcmaug.control.networks.vcm_released import VCMReleasedNetwork
from vcmaug.errors import ModelError
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.ldm.weights import hash_of_weights
from vcmaug.released.brainldm import BRAINLDM

UNET = {
    "in_channels": 3,
    "out_channels": 2,
    "channels": (8, 8, 16),
    "attention_levels": (False, False, True),
    "num_head_channels": 8,
    "norm_num_groups": 4,
    "num_res_blocks": 1,
}


@pytest.fixture(scope="module", params=["epsilon", "flow"])
def prior(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Prior:
    folder = tmp_path_factory.mktemp("prior") / "prior"
    return load_prior(make_tiny_prior(folder, schedule=request.param))


def new(method: str, prior: Prior) -> ControlNetwork:
    """Return a small network of a method, started from the prior."""
    torch.manual_seed(0)
    settings = control_method({"name": method, **tiny.SMALL[method]})
    network = settings.network(prior.spec, num_structures=2)
    network.start_from_prior(prior)
    return network


def ask(
    prior: Prior, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return noisy latents, timesteps, scalars and label maps of two cases."""
    generator = torch.Generator().manual_seed(seed)
    z_t = torch.randn(2, *prior.spec.latent_shape, generator=generator)
    maps = (torch.rand(2, 2, 16, 16, 16, generator=generator) > 0.5).float()
    return z_t, torch.tensor([10, 700]), torch.rand(2, 2, generator=generator), maps


@pytest.mark.parametrize("method", [name for name in tiny.SMALL if name != "vcm_released"])
def test_a_new_control_is_the_identity(prior: Prior, method: str) -> None:
    control = tiny.control_of(new(method, prior), prior)
    z_t, t, scalars, maps = ask(prior)
    context = Context(scalars, control.encode(maps))
    steered = control.steer(prior.denoiser)(z_t, t, context)
    assert torch.equal(steered, prior.denoiser(z_t, t, Context(scalars)))


def test_the_released_vcm_is_not_because_of_its_norm_alone(prior: Prior) -> None:
    z_t, t, scalars, maps = ask(prior)
    frozen = prior.denoiser(z_t, t, Context(scalars))
    network = new("vcm_released", prior)
    with torch.no_grad():
        steered, _ = network(prior.denoiser, z_t, t, scalars, maps)
    assert float((steered.prediction - frozen).abs().max()) > 0.1
    gamma = network.head_norm(torch.randn(2, 4, 4, 4, 4) + 5.0)
    torch.testing.assert_close(gamma.mean(dim=(2, 3, 4)), torch.zeros(2, 4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", tiny.SMALL)
def test_it_learns_and_the_prior_stays(prior: Prior, method: str) -> None:
    """The loss on one batch falls by more than a twentieth in forty updates."""
    network = new(method, prior)
    before = hash_of_weights(prior.weights)
    z_t, t, scalars, maps = ask(prior)
    wanted = prior.denoiser(z_t, t, Context(scalars)) + 0.5 * torch.randn(
        z_t.shape, generator=torch.Generator().manual_seed(1)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        steered, _ = network(prior.denoiser, z_t, t, scalars, maps)
        loss = ((steered.prediction - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]
    assert hash_of_weights(prior.weights) == before
    assert all(p.grad is None for p in prior.denoiser.unet.parameters())


@pytest.mark.parametrize("method", tiny.SMALL)
def test_strength_zero_is_the_frozen_prediction(prior: Prior, method: str) -> None:
    network = new(method, prior)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    control = tiny.control_of(network, prior)
    z_t, t, scalars, maps = ask(prior)
    context = Context(scalars, control.encode(maps))
    frozen = prior.denoiser(z_t, t, Context(scalars))
    assert torch.equal(control.steer(prior.denoiser, strength=0.0)(z_t, t, context), frozen)
    assert not torch.allclose(control.steer(prior.denoiser)(z_t, t, context), frozen, atol=1e-3)


DEEPER = {"channels": (8, 8, 16), "attention_levels": (False, False, True)}


@pytest.mark.parametrize("method", tiny.SMALL)
def test_any_latent_grid_will_do(tmp_path: Path, method: str) -> None:
    """Six cells are halved once by the prior; a control that halves twice takes them too."""
    grid = tiny.GRID.model_copy(update={"shape": (24, 16, 24)})
    prior = load_prior(make_tiny_prior(tmp_path / "prior", grid=grid))
    modulates = "channels" in tiny.SMALL[method] or method == "vcm"
    deeper = DEEPER if modulates else {}
    if method == "vcm_released":
        deeper = {"channels": DEEPER["channels"]}
    settings = control_method({"name": method, **tiny.SMALL[method], **deeper})
    network = settings.network(prior.spec, num_structures=2)
    network.start_from_prior(prior)
    z_t, maps = torch.randn(2, *prior.spec.latent_shape), torch.rand(2, 2, *grid.shape)
    steered, _ = network(prior.denoiser, z_t, torch.tensor([10, 700]), torch.rand(2, 2), maps)
    assert steered.prediction.shape == z_t.shape == (2, 2, 6, 4, 6)
    steered.prediction.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_grid_that_divides_meets_the_plain_unet() -> None:
    unet = AnyGridUNet(**UNET)
    x, t = torch.randn(1, 3, 8, 8, 4), torch.tensor([500])
    assert torch.equal(unet(x, t), DiffusionModelUNet.forward(unet, x, t))
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        DiffusionModelUNet.forward(unet, x[:, :, :6], t)  # what the padding is for
    assert unet(x[:, :, :6], t).shape == (1, 2, 6, 8, 4)


def test_fused_attention_is_attention() -> None:
    """The same weights in MONAI's U-Net, which stores the matrix of every attention."""
    torch.manual_seed(0)
    unet = AnyGridUNet(**UNET)
    plain = DiffusionModelUNet(spatial_dims=3, resblock_updown=True, **UNET)
    plain.load_state_dict(unet.state_dict())
    assert any(getattr(part, "use_flash_attention", False) for part in unet.modules())
    x, t = torch.randn(1, 3, 8, 8, 8), torch.tensor([500])
    torch.testing.assert_close(unet(x, t), plain(x, t), atol=1e-5, rtol=1e-4)


COUNTS = {  # at the width of BrainLDM: (condition channels, parameters)
    "vcm_released": (8, 45_220_134 - 394_752),  # without the weights that nothing uses
    "controlnet": (1, 230_676_432),
    "controlnet_lite": (1, 63_577_040 - 1_312_768),  # without the time embedding that is not used
    "controlnet_mlp": (1, 9_051_088 - 1_312_768),
    "mcm": (3, 44_678_528 - 477_312 + 242_054),  # the U-Net without its unused weights; heads
    "t2i_adapter": (1, 226_507_264 + 3),  # 8x8x8 voxels folded into 512 channels; three gains
}


@pytest.mark.parametrize("method", COUNTS)
def test_counts_at_the_width_of_brainldm(method: str) -> None:
    channels, expected = COUNTS[method]
    with torch.device("meta"):
        network = control_method({"name": method}).network(BRAINLDM, num_structures=channels)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_the_released_vcm_has_as_many_tensors_as_its_checkpoint_uses() -> None:
    with torch.device("meta"):
        network = control_method({"name": "vcm_released"}).network(BRAINLDM, num_structures=8)
    assert isinstance(network, VCMReleasedNetwork)
    unused = 2 * 6  # weight and bias of proj_attn in six attention blocks
    assert len(network.state_dict()) == 386 - unused


def test_features_cannot_be_added_inside_a_steered_denoiser(prior: Prior) -> None:
    control = tiny.control_of(new("controlnet", prior), prior)
    z_t, t, scalars, maps = ask(prior)
    context = Context(scalars, control.encode(maps))
    twice = control.steer(control.steer(prior.denoiser))
    with pytest.raises(ModelError, match=r"controlnet.*cannot steer a SteeredDenoiser"):
        twice(z_t, t, context)


def test_an_encoder_that_ends_elsewhere_is_refused() -> None:
    with pytest.raises(ModelError, match="building controlnet: its condition encoder shrinks by 2"):
        control_method({"name": "controlnet", "encoder_channels": (4, 8)}).network(
            BRAINLDM,
            num_structures=1,
        )
