"""Released checkpoints: made with the networks of monai-generative, read into ours."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.errors import ModelError
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.denoiser import ScalarUNet
from vcmaug.ldm.prior import load_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.released.brainldm import BRAINLDM, brainldm
from vcmaug.released.importing import core_autoencoder, core_unet, import_brainldm
from vcmaug.shapes import as_shape3

nets = pytest.importorskip(
    "generative.networks.nets", reason="the extra `legacy` (monai-generative) is not installed"
)


NUM_PARAMETERS = {"autoencoder": 13_766_248, "unet": 553_168_899}  # of the released files


def small() -> PriorSpec:
    """BrainLDM an eighth as wide, on a grid of its own."""
    spec = BRAINLDM.model_dump()
    spec["grid"] |= {"shape": (32, 32, 32)}
    spec["autoencoder"] |= {"channels": (8, 16, 16, 16), "norm_num_groups": 4}
    spec["diffusion"] |= {
        "channels": (32, 64, 96),
        "num_head_channels": (0, 64, 96),
        "norm_num_groups": 4,
    }
    return PriorSpec.model_validate(spec)


def released_autoencoder(spec: PriorSpec) -> torch.nn.Module:
    """Return an autoencoder as it was released."""
    own = spec.autoencoder
    return nets.AutoencoderKL(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        num_channels=own.channels,
        latent_channels=own.latent_channels,
        num_res_blocks=own.num_res_blocks,
        norm_num_groups=own.norm_num_groups,
        norm_eps=1e-6,
        attention_levels=(False,) * len(own.channels),
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )


def released_unet(spec: PriorSpec) -> torch.nn.Module:
    """Return a diffusion U-Net as it was released."""
    own = spec.diffusion
    return nets.DiffusionModelUNet(
        spatial_dims=3,
        in_channels=7,
        out_channels=3,
        num_channels=own.channels,
        num_res_blocks=own.num_res_blocks,
        attention_levels=own.attention_levels,
        norm_num_groups=own.norm_num_groups,
        norm_eps=1e-6,
        resblock_updown=True,
        num_head_channels=own.num_head_channels,
        with_conditioning=True,
        transformer_num_layers=1,
        cross_attention_dim=4,
        upcast_attention=True,
    )


def stirred(module: torch.nn.Module, deviation: float = 0.05) -> torch.nn.Module:
    """Return the module with no tensor at its initial zeros or ones."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor += deviation * torch.randn(tensor.shape, generator=generator)
    return module.eval()


def filled(module: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Return the module with the weights of a file."""
    tensors = torch.load(path, weights_only=True)
    module.load_state_dict({name.removeprefix("module."): t for name, t in tensors.items()})
    return module.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two files of a release, one with the prefix of data-parallel training."""
    folder = tmp_path_factory.mktemp("released")
    made = {"autoencoder": released_autoencoder(small()), "diffusion": released_unet(small())}
    for name, module in made.items():
        tensors = stirred(module).state_dict()
        if name == "diffusion":
            tensors = {f"module.{key}": tensor for key, tensor in tensors.items()}
        torch.save(tensors, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in made}


def test_the_counts_are_those_of_the_release() -> None:
    with torch.device("meta"):
        modules = {"autoencoder": StemmedAutoencoder(BRAINLDM), "unet": ScalarUNet(BRAINLDM)}
        released = {"autoencoder": released_autoencoder(BRAINLDM), "unet": released_unet(BRAINLDM)}
    for name, expected in NUM_PARAMETERS.items():
        for one in (modules[name], released[name]):
            assert sum(p.numel() for p in one.parameters()) == expected
    assert BRAINLDM.latent_shape == (3, 20, 28, 20)


def test_a_checkpoint_of_compiled_networks_is_the_same(
    files: dict[str, Path], tmp_path: Path
) -> None:
    plain = import_brainldm(
        files["autoencoder"], files["diffusion"], folder=tmp_path / "a", spec=small()
    )
    loaded = {name: torch.load(path, weights_only=True) for name, path in files.items()}
    named = {"autoencoder_state_dict": "autoencoder", "unet_state_dict": "diffusion"}
    content = {
        key: {f"_orig_mod.{name}": tensor for name, tensor in loaded[network].items()}
        for key, network in named.items()
    }
    path = tmp_path / "both.pt"
    torch.save({"epoch": 3, "optimizer": {"state": {}}, **content}, path)
    wrapped = import_brainldm(path, path, folder=tmp_path / "b", spec=small())
    assert wrapped.weights_sha256 == plain.weights_sha256


def test_the_outputs_are_those_of_the_released_networks(
    files: dict[str, Path], tmp_path: Path
) -> None:
    spec = small()
    import_brainldm(files["autoencoder"], files["diffusion"], folder=tmp_path, spec=spec)
    prior = load_prior(tmp_path)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((2, 1, *spec.grid.shape), generator=generator)
    z = torch.randn((2, *spec.latent_shape), generator=generator)
    scalars = torch.rand((2, 4), generator=generator)
    t = torch.tensor([3, 700])
    theirs = filled(released_autoencoder(spec), files["autoencoder"])
    with torch.no_grad():
        assert torch.allclose(prior.encode(images), theirs.encode(images)[0], atol=1e-5)
        decoded = prior.autoencoder.decode(z)
        assert torch.allclose(decoded, theirs.decode(z), atol=1e-4)
        noise = prior.denoiser.unet(z, t, scalars)
        expected = _released_noise(filled(released_unet(spec), files["diffusion"]), z, t, scalars)
    assert torch.allclose(noise, expected, atol=1e-4)
    assert expected.std() > 0.01
    assert prior.latent_scale == 1.0


def _assert_as_close_as_rounding(found: Tensor, expected: Tensor) -> None:
    """Compare outputs that vary, to a share of their deviation."""
    assert expected.std() > 0.01
    assert float((found - expected).abs().max() / expected.std()) < 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@torch.no_grad()
def test_at_full_size_the_noise_is_that_of_the_released_network() -> None:
    theirs = stirred(released_unet(BRAINLDM), deviation=0.01)
    with torch.device("meta"):
        ours = ScalarUNet(BRAINLDM)
    ours.load_state_dict(core_unet(theirs.state_dict()), assign=True)  # no second 2 GB
    generator = torch.Generator().manual_seed(1)
    z = torch.randn((1, *BRAINLDM.latent_shape), generator=generator)
    scalars, t = torch.rand((1, 4), generator=generator), torch.tensor([700])
    found = ours.eval()(z, t, scalars)
    _assert_as_close_as_rounding(found, _released_noise(theirs, z, t, scalars))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@torch.no_grad()
def test_at_full_width_the_images_are_those_of_the_released_network() -> None:
    """On a part of the latent grid: a whole decode takes 10 GiB."""
    theirs, ours = stirred(released_autoencoder(BRAINLDM), 0.01), StemmedAutoencoder(BRAINLDM)
    ours.load_state_dict(core_autoencoder(theirs.state_dict()))
    generator = torch.Generator().manual_seed(1)
    z = torch.randn((1, 3, 8, 10, 8), generator=generator)
    _assert_as_close_as_rounding(ours.eval().decode(z), theirs.decode(z))
    images = torch.rand((1, 1, 48, 64, 48), generator=generator)
    for found, expected in zip(ours.encode(images), theirs.encode(images), strict=True):
        _assert_as_close_as_rounding(found, expected)


def _released_noise(unet: torch.nn.Module, z: Tensor, t: Tensor, scalars: Tensor) -> Tensor:
    """Return what a released U-Net predicts: scalars as constant channels and as context."""
    maps = scalars[:, :, None, None, None].expand(-1, -1, *as_shape3(z.shape[2:]))
    result: Tensor = unet(torch.cat([z, maps], dim=1), t, context=scalars[:, None])
    return result


def test_the_card_says_where_the_weights_come_from(files: dict[str, Path], tmp_path: Path) -> None:
    card = import_brainldm(files["autoencoder"], files["diffusion"], folder=tmp_path, spec=small())
    assert not card.imported_from["unet"].is_the_release
    assert card.imported_from["unet"].num_keys == 528
    assert card.imported_from["autoencoder"].num_keys == 162


def test_the_command_says_whether_the_files_are_those_of_the_release(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcmaug.released.brainldm.brainldm", lambda sex: small())
    named = ["--autoencoder", str(files["autoencoder"]), "--diffusion", str(files["diffusion"])]
    command = ["import-weights", "brainldm", *named, "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--sex", "male0"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "autoencoder: autoencoder.pth, 162 keys, all used" in said
    assert "unet: diffusion.pth, 528 keys, all used" in said
    assert said.count("NOT the md5 of the release") == 2
    assert "Sex is coded male0" in said
    assert load_prior(tmp_path).spec.latent_scale == 1.0
    assert CliRunner().invoke(app, [*command, "--sex", "neither"]).exit_code != 0


def test_the_coding_of_sex_is_a_choice() -> None:
    assert brainldm().scalars[0].codes["F"] == 0.0
    assert brainldm("male0").scalars[0].codes["F"] == 1.0
    assert [one.name for one in BRAINLDM.scalars] == ["sex", "age", "ventricles", "brain"]


def test_files_of_other_networks_are_refused_and_nothing_is_written(
    files: dict[str, Path], tmp_path: Path
) -> None:
    good, out = files["diffusion"], tmp_path / "out"
    with pytest.raises(ModelError, match=r"diffusion.pth as autoencoder: 528 of its 528 keys"):
        import_brainldm(good, good, folder=out, spec=small())
    cut = tmp_path / "cut.pth"
    cut.write_bytes(good.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cut.pth: the file is damaged or no checkpoint"):
        import_brainldm(files["autoencoder"], cut, folder=out, spec=small())
    assert not out.exists()
