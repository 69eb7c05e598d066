"""How many volumes an autoencoder is given at once."""

import pytest
import tiny
import torch

from vcmaug.ldm import autoencoder
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.spec import AutoencoderSettings, PriorSpec
from vcmaug.training.autoencoder import encode_all, reconstructed

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
