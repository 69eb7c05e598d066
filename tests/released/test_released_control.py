"""The released VCM checkpoint, made with the U-Net of monai-generative, read into a control."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import make_tiny_prior
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from vcmaug.cli.main import app
from vcmaug.control.base import load_control
from vcmaug.control.card import ControlCard
from vcmaug.control.methods.vcm import VCMReleased
from vcmaug.control.networks.vcm_released import RELEASED_SCALE
from vcmaug.data.labels import LabelScheme
from vcmaug.errors import ModelError, WorkFolderError
from vcmaug.files import locked
from vcmaug.ldm.card import read_card
from vcmaug.ldm.prior import Prior, load_prior
from vcmaug.released.brainldm import BRAINLDM
from vcmaug.released.files import read_released
from vcmaug.released.importing import import_vcm

nets = pytest.importorskip(
    "generative.networks.nets", reason="the extra `legacy` (monai-generative) is not installed"
)

SCHEME = LabelScheme.from_mapping({"a": 1, "b": 2})
SETTINGS = VCMReleased(
    encoder_channels=(16, 32), channels=(32, 64, 96), norm_num_groups=8, hidden_channels=16
)


def released_unet(prior: Prior, settings: VCMReleased = SETTINGS) -> torch.nn.Module:
    """Return the U-Net of a VCM as it was released."""
    condition = (settings.encoder_channels or (16, 32, 48))[-1]
    return nets.DiffusionModelUNet(
        spatial_dims=3,
        in_channels=2 * prior.spec.latent_shape[0] + condition,
        out_channels=settings.channels[0],
        num_channels=settings.channels,
        num_res_blocks=2,
        attention_levels=(False, False, True),
        norm_num_groups=settings.norm_num_groups,
        norm_eps=1e-6,
        resblock_updown=True,
        num_head_channels=settings.channels[-1],
    )


def write_checkpoint(
    path: Path, prior: Prior, settings: VCMReleased, *, num_structures: int
) -> Path:
    """Write a checkpoint as data-parallel training left it."""
    torch.manual_seed(0)
    ours = settings.network(prior.spec, num_structures=num_structures).state_dict()
    tensors: dict[str, Tensor] = {}
    for number, (name, tensor) in enumerate(ours.items()):
        if name.startswith("encoder."):
            tensors[f"modality_encoder.layer{number}.{name.split('.')[-1]}"] = tensor
    for name, tensor in released_unet(prior, settings).state_dict().items():
        tensors[f"time_unet.{name}"] = tensor
    for theirs, own in (
        ("mlp_shared", "shared"),
        ("mlp_gamma", "gamma_head"),
        ("mlp_beta", "beta_head"),
    ):
        for part in ("weight", "bias"):
            tensors[f"{theirs}.conv.{part}"] = ours[f"{own}.{part}"]
    stirred = {name: t + 0.05 * torch.randn(t.shape) for name, t in tensors.items()}
    torch.save({f"module.{name}": tensor for name, tensor in stirred.items()}, path)
    return path


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Prior:
    return load_prior(make_tiny_prior(tmp_path_factory.mktemp("prior") / "prior"))


@pytest.fixture(scope="module")
def checkpoint(prior: Prior, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint at the width of SETTINGS."""
    path = tmp_path_factory.mktemp("released") / "vcm.pt"
    return write_checkpoint(path, prior, SETTINGS, num_structures=2)


def test_its_unet_predicts_what_the_released_one_predicts(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    import_vcm(checkpoint, prior=prior, folder=tmp_path, settings=SETTINGS, scheme=SCHEME)
    control = load_control(tmp_path, prior=prior)
    theirs = released_unet(prior).eval()
    tensors = read_released(checkpoint)
    theirs.load_state_dict(
        {k.removeprefix("time_unet."): t for k, t in tensors.items() if k.startswith("time_unet.")}
    )
    in_channels = 2 * prior.spec.latent_shape[0] + 32
    x = torch.randn(2, in_channels, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 700])
    with torch.no_grad():
        expected = theirs(x, t)
        found = control.network.get_submodule("unet")(x, t)
    assert torch.allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.01


def encoded_as_described(tensors: list[Tensor], x: Tensor, *, stages: int, groups: int) -> Tensor:
    """Return the features of the released condition encoder, written out from its description.

    A 3x3x3 convolution; stages of two residual blocks and one that halves the grid on both of its
    branches; pre-activation, and a skip of 1x1x1 where the width changes.
    """
    left = iter(tensors)

    def residual(x: Tensor, width: int, *, down: bool = False) -> Tensor:
        h = F.silu(F.group_norm(x, min(groups, x.shape[1]), next(left), next(left), eps=1e-6))
        if down:
            x, h = F.avg_pool3d(x, 2), F.avg_pool3d(h, 2)
        h = F.conv3d(h, next(left), next(left), padding=1)
        h = F.silu(F.group_norm(h, min(groups, width), next(left), next(left), eps=1e-6))
        h = F.conv3d(h, next(left), next(left), padding=1)
        return h + (x if x.shape[1] == width else F.conv3d(x, next(left), next(left)))

    x = F.conv3d(x, next(left), next(left), padding=1)
    for width in (SETTINGS.encoder_channels or ())[:stages]:
        x = residual(residual(x, width), width)
        x = residual(x, width, down=True)
    assert next(left, None) is None
    return x


def test_its_encoder_is_the_one_described(prior: Prior, checkpoint: Path, tmp_path: Path) -> None:
    import_vcm(checkpoint, prior=prior, folder=tmp_path, settings=SETTINGS, scheme=SCHEME)
    tensors = [t for k, t in read_released(checkpoint).items() if k.startswith("modality_encoder.")]
    maps = torch.rand(1, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (found,) = load_control(tmp_path, prior=prior).encode(maps).features
        expected = encoded_as_described(tensors, maps, stages=2, groups=16)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert expected.std() > 0.01


def test_a_prior_of_other_latents_is_named_as_the_wrong_part(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    autoencoder = prior.spec.autoencoder.model_copy(update={"latent_channels": 8})
    other = replace(prior, spec=prior.spec.model_copy(update={"autoencoder": autoencoder}))
    with pytest.raises(
        ModelError, match=r"steers latents of 2 channels, those of prior 'tiny' have 8"
    ):
        import_vcm(checkpoint, prior=other, folder=tmp_path / "x", settings=SETTINGS, scheme=SCHEME)
    assert not (tmp_path / "x").exists()


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
    found = card.imported_from
    used = sum(t.numel() for t in weights.values())
    assert found["num_stored_parameters"] - found["num_unused_parameters"] == used
    assert found["num_unused_parameters"] == 6 * (96 * 96 + 96)
    assert card.latent_scale == RELEASED_SCALE


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


def test_the_stored_names_are_exactly_those_of_the_release(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    tensors, path = read_released(checkpoint), tmp_path / "odd.pt"
    unused = {name for name in tensors if "proj_attn" in name}
    one = "time_unet.middle_block.attention.proj_attn.weight"
    assert one in unused
    names = list(tensors)
    swapped = names[2:4][::-1]  # weight and bias of a normalisation, of one shape
    odd = {
        "12 are missing": {k: t for k, t in tensors.items() if k not in unused},
        "1 are missing": {k: t for k, t in tensors.items() if k != one},
        "1 of its": tensors | {"time_unet.bogus.proj_attn.x": torch.zeros(3)},
        "1 have another shape": tensors | {one: torch.zeros(3)},
        "known kinds": {k: tensors[k] for k in [*names[:2], *swapped, *names[4:]]},
    }
    for reason, content in odd.items():
        torch.save(content, path)
        with pytest.raises(ModelError, match=reason):
            import_vcm(path, prior=prior, folder=tmp_path / "x", settings=SETTINGS, scheme=SCHEME)
    assert not (tmp_path / "x").exists()


def test_at_full_size_it_has_the_keys_and_parameters_of_the_release(
    prior: Prior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, which says what comes with it; the prior is BrainLDM's spec alone."""
    full, widths = replace(prior, spec=BRAINLDM), VCMReleased()
    path = write_checkpoint(tmp_path / "vcm.pt", full, widths, num_structures=8)
    monkeypatch.setattr("vcmaug.ldm.prior.load_prior", lambda folder: full)
    out = tmp_path / "control"
    done = CliRunner().invoke(app, ["import-weights", "vcm", str(path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "386 keys, 45,220,134 parameters; 394,752 are never used and were dropped" in said
    assert "instance normalisation of gamma and beta is on" in said
    card = read_card(out, ControlCard)
    assert card.latent_scale == RELEASED_SCALE
    assert card.imported_from["num_keys"] == 386


def test_neither_the_download_nor_the_prior_is_written_over(prior: Prior, checkpoint: Path) -> None:
    assert prior.folder is not None
    before = (prior.folder / "card.json").read_bytes()
    for out in (prior.folder, checkpoint.parent):
        with pytest.raises(WorkFolderError, match="which is read"):
            import_vcm(checkpoint, prior=prior, folder=out, settings=SETTINGS, scheme=SCHEME)
    assert (prior.folder / "card.json").read_bytes() == before
    out = checkpoint.parent / "out"
    with (
        locked(out, purpose="importing"),
        pytest.raises(WorkFolderError, match="in use by process"),
    ):
        import_vcm(checkpoint, prior=prior, folder=out, settings=SETTINGS, scheme=SCHEME)


def test_a_control_of_another_prior_is_refused(
    prior: Prior, checkpoint: Path, tmp_path: Path
) -> None:
    import_vcm(checkpoint, prior=prior, folder=tmp_path, settings=SETTINGS, scheme=SCHEME)
    other = replace(prior, card=prior.card.model_copy(update={"weights_sha256": "0" * 64}))
    with pytest.raises(ModelError, match="it was trained on prior"):
        load_control(tmp_path, prior=other)
