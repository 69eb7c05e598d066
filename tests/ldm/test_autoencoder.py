"""The shortcut of the autoencoder: principal components of blocks at the start."""

import torch

from vcmaug.data.geometry import Grid
from vcmaug.ldm.autoencoder import StemmedAutoencoder
from vcmaug.ldm.spec import AutoencoderSettings, PriorSpec


def images(channels: int = 1) -> torch.Tensor:
    """Return smooth images, so that few components say much."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((12, channels, 5, 5, 5), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(16, 16, 16), mode="trilinear")
    return smooth + 0.02 * torch.randn(smooth.shape, generator=generator)


def build(*, latent_channels: int, image_channels: int = 1) -> StemmedAutoencoder:
    torch.manual_seed(0)
    settings = AutoencoderSettings(
        latent_channels=latent_channels, channels=(4, 8), norm_num_groups=4, shortcut=True
    )
    grid = Grid(shape=(16, 16, 16))
    spec = PriorSpec(name="x", grid=grid, image_channels=image_channels, autoencoder=settings)
    return StemmedAutoencoder(spec).eval()


def blocks(volumes: torch.Tensor) -> torch.Tensor:
    """Return 4x4x4 blocks as rows."""
    parts = volumes.unfold(2, 4, 4).unfold(3, 4, 4).unfold(4, 4, 4)  # [N, C, x, y, z, 4, 4, 4]
    return parts.permute(0, 2, 3, 4, 1, 5, 6, 7).reshape(-1, volumes.shape[1] * 64)


def test_it_starts_at_the_projection_on_the_principal_components_of_blocks() -> None:
    real = images()
    autoencoder = build(latent_channels=6)
    autoencoder.start_linear(real)
    with torch.no_grad():
        made = autoencoder.decode(autoencoder.encode(real)[0])
    rows = blocks(real) - real.mean()
    axes = torch.linalg.svd(rows.T @ rows)[0][:, :6]
    torch.testing.assert_close(blocks(made) - real.mean(), rows @ axes @ axes.T, atol=1e-4, rtol=0)


def test_its_latents_have_unit_variance_and_little_posterior_noise() -> None:
    real = images(channels=2)
    autoencoder = build(latent_channels=5, image_channels=2)
    autoencoder.start_linear(real)
    with torch.no_grad():
        mean, deviation = autoencoder.encode(real)
    spread = mean.movedim(1, 0).flatten(1).pow(2).mean(dim=1)
    torch.testing.assert_close(spread, torch.ones(5), atol=1e-3, rtol=0)
    assert float(deviation.max()) < 0.1


def test_the_networks_can_leave_the_start() -> None:
    real = images()
    autoencoder = build(latent_channels=4)
    autoencoder.start_linear(real)
    mean, _ = autoencoder.encode(real)
    (autoencoder.decode(mean) - real).abs().mean().backward()
    last = autoencoder.kl.decoder.blocks[-1].conv.weight.grad
    assert last is not None
    assert float(last.abs().sum()) > 0
