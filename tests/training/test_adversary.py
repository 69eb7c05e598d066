"""The discriminator of the autoencoder: who receives which gradient."""

from pathlib import Path

import pytest
import torch
from tiny import GRID

from vcmaug.ldm.spec import AutoencoderSettings, PriorSpec
from vcmaug.training.autoencoder import AutoencoderTraining, _WithAdversary, train_autoencoder
from vcmaug.training.losses import adversarial_loss

SPEC = PriorSpec(
    name="tiny",
    grid=GRID,
    autoencoder=AutoencoderSettings(channels=(4, 8), latent_channels=2, norm_num_groups=4),
)


@pytest.fixture
def pair() -> _WithAdversary:
    torch.manual_seed(0)
    return _WithAdversary(SPEC.build_autoencoder(), image_channels=1)


def logits_of(pair: _WithAdversary) -> dict[str, torch.Tensor]:
    images = torch.rand((2, 1, *GRID.shape), generator=torch.Generator().manual_seed(1))
    noise = torch.zeros((2, *SPEC.latent_shape))
    return pair(images, noise, judge=True)[1]


def reached(pair: _WithAdversary) -> set[str]:
    """Return which of the two networks has a gradient somewhere."""
    return {
        name.split(".")[0]
        for name, weight in pair.named_parameters()
        if weight.grad is not None and bool(weight.grad.abs().sum() > 0)
    }


def test_the_discriminator_learns_from_images_and_leaves_the_autoencoder_alone(pair):
    logits = logits_of(pair)
    loss, _ = adversarial_loss(**(logits | {"fooled": torch.zeros(1)}), weight=1.0)
    loss.backward()
    assert reached(pair) == {"discriminator"}


def test_the_autoencoder_learns_to_fool_and_leaves_the_discriminator_alone(pair):
    logits = logits_of(pair)
    assert torch.equal(logits["fake"], logits["fooled"])
    (-logits["fooled"].mean()).backward()
    assert reached(pair) == {"autoencoder"}


def test_the_hinge_is_zero_beyond_the_margin_and_the_weight_scales_the_other_half():
    loss, parts = adversarial_loss(
        real=torch.tensor([1.0, 3.0]),
        fake=torch.tensor([-1.0, -2.0]),
        fooled=torch.tensor([-1.0, -2.0]),
        weight=0.1,
    )
    assert parts == {"discriminator": 0.0, "adversarial": 1.5}
    assert float(loss) == pytest.approx(0.15)


def test_training_against_it_leaves_an_autoencoder_alone(tmp_path: Path):
    settings = AutoencoderTraining(
        updates=6, batch_size=2, adversarial_weight=0.1, adversarial_from=0.5, flip=False
    )
    autoencoder, record = train_autoencoder(
        torch.rand((3, 1, *GRID.shape)),
        spec=SPEC,
        settings=settings,
        seed=0,
        checkpoint=tmp_path / "autoencoder.pt",
        identity="x",
    )
    assert set(autoencoder.state_dict()) == set(SPEC.build_autoencoder().state_dict())
    assert ["discriminator" in row for row in record.log] == [False] * 3 + [True] * 3
