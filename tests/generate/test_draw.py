"""How a micro-batch is drawn: what is decoded together."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from vcmaug.generate import draw
from vcmaug.ldm import autoencoder
from vcmaug.ldm.prior import Prior, load_prior


@pytest.fixture
def prior(world: Path) -> Prior:
    """Return the tiny prior."""
    return load_prior(Path(tiny.tiny_plan(world).prior_folder))


@pytest.mark.parametrize("textured", [False, True])
def test_large_volumes_are_decoded_in_parts(
    prior: Prior, textured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same images, never more at once than the limit, each with its own texture."""
    sizes: list[int] = []

    def decode(self: Prior, z: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        sizes.append(len(z))
        images = self.autoencoder.decode(z)
        return images if noise is None else images + noise

    monkeypatch.setattr(Prior, "decode", decode)
    generator = torch.Generator().manual_seed(0)
    z_0 = torch.randn(5, *prior.spec.latent_shape, generator=generator)
    texture = torch.randn(5, 1, *prior.spec.grid.shape, generator=generator) if textured else None
    with torch.no_grad():
        whole = draw._decoded(prior, z_0, texture)
        voxels = int(np.prod(prior.spec.grid.shape))
        monkeypatch.setattr(autoencoder, "_VOXELS_AT_ONCE", 2 * voxels)
        parts = draw._decoded(prior, z_0, texture)
    assert sizes == [5, 2, 2, 1]
    assert parts.shape == (5, *prior.spec.grid.shape)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
