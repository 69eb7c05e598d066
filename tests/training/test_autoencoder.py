"""How many volumes an autoencoder is given at once."""

import numpy as np
import pytest
import tiny
import torch

from vcmaug.ldm import autoencoder
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.spec import AutoencoderSettings, PriorSpec
from vcmaug.training.autoencoder import autoencoder_loss, encode_all, reconstructed
from vcmaug.training.settings import AutoencoderTraining

SPEC = PriorSpec(
    name="tiny",
    grid=tiny.GRID,
    autoencoder=AutoencoderSettings(channels=(4, 8), latent_channels=2, norm_num_groups=4),
)


@pytest.mark.parametrize("function", [encode_all, reconstructed])
def test_large_volumes_are_encoded_in_parts(function, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same latents and images, never more at once than the limit."""
    network = StemmedAutoencoder(SPEC).eval()
    images = torch.rand(5, 1, *tiny.GRID.shape, generator=torch.Generator().manual_seed(0))
    whole = function(network, images)
    sizes: list[int] = []

    def encode(self: StemmedAutoencoder, part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(part))
        return encode_once(self, part)

    encode_once = StemmedAutoencoder.encode
    monkeypatch.setattr(StemmedAutoencoder, "encode", encode)
    monkeypatch.setattr(autoencoder, "_VOXELS_AT_ONCE", 2 * 16**3)
    parts = function(network, images)
    assert sizes == [2, 2, 1]
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


def masked_balls() -> torch.Tensor:
    """Return balls of several sizes that are exactly 0 outside, [8, 1, 16, 16, 16]."""
    maps = [tiny.label_map_of(radius=4.0 + 0.4 * k).array for k in range(8)]
    shown = torch.from_numpy(np.stack(maps).astype(np.float32))[:, None]
    noise = torch.rand(shown.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(shown > 0, 0.3 + 0.2 * shown + 0.1 * noise, 0.0)


@pytest.mark.parametrize("foreground", [True, False])
def test_a_foreground_head_makes_the_background_zero(foreground: bool) -> None:
    images = masked_balls()
    settings = SPEC.autoencoder.model_copy(update={"foreground": foreground})
    network = StemmedAutoencoder(SPEC.model_copy(update={"autoencoder": settings}))
    network.start_linear(images)
    training = AutoencoderTraining(foreground_weight=0.3)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    noise = torch.zeros(8, *SPEC.latent_shape)
    losses = []
    for _ in range(120):
        loss, parts = autoencoder_loss(network(images, noise), images, settings=training)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(parts)
    assert ("shown" in losses[-1]) == foreground
    decoded = reconstructed(network.eval(), images)
    outside = -torch.nn.functional.max_pool3d((images > 0).float(), 5, 1, 2) > -0.5
    stray = float((decoded[outside] != 0).float().mean())
    assert stray < 0.001 if foreground else stray > 0.5
    assert float((decoded[images > 0] > 0).float().mean()) > 0.95
    if foreground:
        assert losses[-1]["shown"] < 0.3 * losses[0]["shown"]


def test_without_a_foreground_head_there_are_no_weights_of_one() -> None:
    with_it = SPEC.autoencoder.model_copy(update={"foreground": True})
    plain, headed = (
        StemmedAutoencoder(SPEC.model_copy(update={"autoencoder": settings})).state_dict()
        for settings in (SPEC.autoencoder, with_it)
    )
    assert set(plain) == set(headed)
    differing = [name for name in plain if plain[name].shape != headed[name].shape]
    assert all("decoder" in name for name in differing)
    assert differing
