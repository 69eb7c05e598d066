import json
from pathlib import Path

import pytest
import torch
from tiny import make_tiny_control, make_tiny_prior

from vcmaug.control.base import load_control
from vcmaug.errors import DataError, ModelError
from vcmaug.files import read_json, write_json
from vcmaug.ldm.denoiser import Context
from vcmaug.ldm.prior import has_mean, load_prior
from vcmaug.ldm.spec import PriorSpec
from vcmaug.ldm.weights import hash_of_weights


def test_a_prior_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    first = load_prior(make_tiny_prior(tmp_path / "a"))
    second = load_prior(tmp_path / "a")
    z = torch.randn(2, *first.spec.latent_shape, generator=torch.Generator().manual_seed(0))
    context = Context(scalars=torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    t = torch.tensor([10, 500])
    assert torch.equal(first.denoiser(z, t, context), second.denoiser(z, t, context))
    assert torch.equal(first.decode(z), second.decode(z))


def test_decoded_images_lie_in_the_unit_interval_on_the_grid(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path))
    images = prior.decode(5.0 * torch.randn(2, *prior.spec.latent_shape))
    assert images.shape == (2, 1, 16, 16, 16)
    assert 0.0 <= float(images.min()) <= float(images.max()) <= 1.0


def test_encoding_gives_the_scaled_posterior_mean(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path))
    images = torch.rand(1, 1, 16, 16, 16)
    mean, _ = prior.autoencoder.encode(images)
    assert torch.equal(prior.encode(images), mean * prior.latent_scale)
    assert torch.equal(prior.encode(images), prior.encode(images))


def test_scalars_change_the_prediction(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path))
    z, t = torch.randn(1, *prior.spec.latent_shape), torch.tensor([500])
    young = prior.denoiser(z, t, Context(scalars=torch.tensor([[0.0, 0.5]])))
    old = prior.denoiser(z, t, Context(scalars=torch.tensor([[1.0, 0.5]])))
    assert not torch.equal(young, old)


def test_a_missing_scalar_is_filled_as_the_card_says(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path))
    filled = prior.scalar_vector({"core_volume": 4000.0})
    assert filled is not None
    assert filled.tolist() == pytest.approx([0.5, 0.25])  # (50 - 20) / 60 and 4000 / 16000


def test_a_scalar_in_the_wrong_unit_is_refused(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path))
    with pytest.raises(DataError, match="'age': found 4000"):
        prior.scalar_vector({"age": 4000.0})


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    make_tiny_prior(tmp_path)
    weights = tmp_path / "prior.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="hash is not the one on the card"):
        load_prior(tmp_path)
    weights.write_bytes(bytes(content[:1000]))
    for read in (load_prior, has_mean):
        with pytest.raises(ModelError, match="damaged"):
            read(tmp_path)
    weights.unlink()
    with pytest.raises(ModelError, match="there is no such file"):
        has_mean(tmp_path)


def test_a_card_with_a_spec_that_is_not_known_is_refused(tmp_path: Path) -> None:
    card = read_json(make_tiny_prior(tmp_path) / "card.json")
    write_json(tmp_path / "card.json", card | {"spec": card["spec"] | {"depth": 3}})
    with pytest.raises(ModelError, match=r"cannot read the settings on its card(.|\n)*depth"):
        load_prior(tmp_path)


def test_a_prior_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no card\.json"):
        load_prior(tmp_path)


def test_weights_of_another_shape_name_the_keys(tmp_path: Path) -> None:
    make_tiny_prior(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    card["spec"]["diffusion"]["num_res_blocks"] = 2
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="are missing"):
        load_prior(tmp_path)


def test_a_control_of_another_prior_is_refused(tmp_path: Path) -> None:
    make_tiny_prior(tmp_path / "a", seed=0)
    other = load_prior(make_tiny_prior(tmp_path / "b", seed=1))
    make_tiny_control(tmp_path / "control", tmp_path / "a")
    with pytest.raises(ModelError, match="trained on prior 'tiny'"):
        load_control(tmp_path / "control", prior=other)


def test_a_control_file_holds_no_tensor_of_the_prior(tmp_path: Path) -> None:
    prior = load_prior(make_tiny_prior(tmp_path / "a"))
    make_tiny_control(tmp_path / "control", tmp_path / "a")
    control = load_control(tmp_path / "control", prior=prior)
    frozen = {hash_of_weights({"x": t}) for t in _tensors(prior) if t.numel() > 64}
    held = {hash_of_weights({"x": t}) for t in control.network.state_dict().values()}  # type: ignore[attr-defined]
    assert not frozen & held


def _tensors(prior):  # type: ignore[no-untyped-def]
    return prior.weights.values()


def test_a_grid_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="must be multiples of 8"):
        PriorSpec(name="x", grid={"shape": (20, 16, 16)})  # type: ignore[arg-type]
