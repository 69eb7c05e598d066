"""The released VCM checkpoint, made with the U-Net of monai-generative, read into a control."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import make_tiny_prior
from torch import Tensor

from vcmaug.control.build import build_network, load_control
from vcmaug.control.importing import import_vcm
from vcmaug.control.vcm_released import RELEASED_SCALE, VCMReleasedSettings
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.ldm.released_files import read_released

nets = pytest.importorskip(
    "generative.networks.nets", reason="the extra `legacy` (monai-generative) is not installed"
)

SCHEME = LabelScheme.from_mapping({"a": 1, "b": 2})
SETTINGS = VCMReleasedSettings(
    encoder_channels=(16, 32), channels=(32, 64, 96), norm_num_groups=8, hidden_channels=16
)


def released_unet(in_channels: int) -> torch.nn.Module:
    """Return the U-Net of a VCM as it was released, at the width of SETTINGS."""
    return nets.DiffusionModelUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=32,
        num_channels=SETTINGS.channels,
        num_res_blocks=2,
        attention_levels=(False, False, True),
        norm_num_groups=8,
        norm_eps=1e-6,
        resblock_updown=True,
        num_head_channels=96,
    )


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return load_prior(make_tiny_prior(tmp_path_factory.mktemp("prior") / "prior"))


@pytest.fixture(scope="module")
def checkpoint(prior: Prior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as data-parallel training left it."""
    torch.manual_seed(0)
    latent = prior.spec.latent_shape[0]
    ours = build_network(SETTINGS, spec=prior.spec, num_structures=2).state_dict()
    tensors: dict[str, Tensor] = {}
    for number, (name, tensor) in enumerate(ours.items()):
        if name.startswith("encoder."):
            tensors[f"modality_encoder.layer{number}.{name.split('.')[-1]}"] = tensor
    for name, tensor in released_unet(2 * latent + 32).state_dict().items():
        tensors[f"time_unet.{name}"] = tensor
    for theirs, own in (
        ("mlp_shared", "shared"),
        ("mlp_gamma", "gamma_head"),
        ("mlp_beta", "beta_head"),
    ):
        for part in ("weight", "bias"):
            tensors[f"{theirs}.conv.{part}"] = ours[f"{own}.{part}"]
    stirred = {name: t + 0.05 * torch.randn(t.shape) for name, t in tensors.items()}
    path = tmp_path_factory.mktemp("released") / "vcm.pt"
    torch.save({f"module.{name}": tensor for name, tensor in stirred.items()}, path)
    return path


def test_its_unet_predicts_what_the_released_one_predicts(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    import_vcm(checkpoint, prior=prior, folder=tmp_path, settings=SETTINGS, scheme=SCHEME)
    control = load_control(tmp_path, prior=prior)
    in_channels = 2 * prior.spec.latent_shape[0] + 32
    theirs = released_unet(in_channels).eval()
    tensors = read_released(checkpoint)
    theirs.load_state_dict(
        {k.removeprefix("time_unet."): t for k, t in tensors.items() if k.startswith("time_unet.")}
    )
    x = torch.randn(2, in_channels, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 700])
    with torch.no_grad():
        expected = theirs(x, t)
        found = control.network.get_submodule("unet")(x, t)
    assert torch.allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.01


def test_every_tensor_of_encoder_and_heads_arrives(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    card = import_vcm(checkpoint, prior=prior, folder=tmp_path, settings=SETTINGS, scheme=SCHEME)
    weights = load_control(tmp_path, prior=prior).network.state_dict()
    tensors = read_released(checkpoint)
    theirs = [t for name, t in tensors.items() if name.startswith("modality_encoder.")]
    ours = [t for name, t in weights.items() if name.startswith("encoder.")]
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
    assert torch.equal(weights["gamma_head.weight"], tensors["mlp_gamma.conv.weight"])
    found = card["imported_from"]
    used = sum(t.numel() for t in weights.values())
    assert found["num_stored_parameters"] - found["num_unused_parameters"] == used
    assert found["num_unused_parameters"] == 6 * (96 * 96 + 96)
    assert card["latent_scale"] == RELEASED_SCALE


def test_a_file_of_another_model_is_refused(prior: Prior, checkpoint: Path, tmp_path: Path) -> None:
    def ask(path: Path) -> None:
        import_vcm(path, prior=prior, folder=tmp_path / "out", settings=SETTINGS, scheme=SCHEME)

    tensors = dict(read_released(checkpoint))
    torch.save(tensors | {"decoder.weight": torch.zeros(3)}, tmp_path / "more.pt")
    with pytest.raises(ModelError, match=r"more.pt as the released VCM: 1 of its"):
        ask(tmp_path / "more.pt")
    torch.save({k: t for k, t in tensors.items() if "gamma" not in k}, tmp_path / "less.pt")
    with pytest.raises(ModelError, match=r"less.pt as the released VCM: 0 of .* 2 are missing"):
        ask(tmp_path / "less.pt")
    torch.save({k: t for k, t in tensors.items() if "encoder" not in k}, tmp_path / "bare.pt")
    with pytest.raises(ModelError, match="its condition encoder has 0 tensors"):
        ask(tmp_path / "bare.pt")
    assert not (tmp_path / "out").exists()


def test_a_control_of_another_prior_is_refused(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    import_vcm(checkpoint, prior=prior, folder=tmp_path, settings=SETTINGS, scheme=SCHEME)
    other = replace(prior, card={**prior.card, "weights_sha256": "0" * 64})
    with pytest.raises(ModelError, match="it was trained on prior"):
        load_control(tmp_path, prior=other)
