"""What the decoder leaves out, measured and drawn anew."""

import torch
from scipy.stats import norm

from vcmaug.ldm.texture import Texture, measure_texture
from vcmaug.training.autoencoder import gradient_energy

SHAPE = (24, 1, 12, 14, 12)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def coloured(seed: int) -> torch.Tensor:
    """Return noise of unit variance in which neighbours along X resemble each other."""
    plain = noise(seed)
    return (plain + torch.roll(plain, 1, dims=2)) / 2**0.5


def ramp() -> torch.Tensor:
    """Return images that run from black to white along Z."""
    return torch.linspace(0, 1, SHAPE[-1]).expand(SHAPE).clone()


def test_variance_spectrum_and_gradient_energy_of_the_residual_come_back() -> None:
    decoded = torch.full(SHAPE, 0.5)
    images = decoded + 0.05 * coloured(0)
    made = measure_texture(images, decoded).add(decoded, noise(1))
    assert abs((made - decoded).std() / 0.05 - 1) < 0.03
    ratio = gradient_energy(made).sum() / gradient_energy(images).sum()
    assert abs(ratio - 1) < 0.05
    alike = [
        ((x - decoded)[:, :, 1:] * (x - decoded)[:, :, :-1]).mean() / 0.05**2
        for x in (images, made)
    ]
    assert abs(alike[0] - alike[1]) < 0.05
    assert alike[1] > 0.4  # and 0 for white noise


def test_where_images_are_exact_nothing_is_added() -> None:
    decoded = ramp()
    images = decoded + torch.where(decoded > 0.5, 0.1, 0.0) * noise(0)
    added = measure_texture(images, decoded).add(decoded, noise(1)) - decoded
    assert added[..., 0].abs().max() < 1e-3
    assert abs(added[..., -1].std() / 0.1 - 1) < 0.15


def test_images_are_as_unequal_in_strength_as_the_real_ones() -> None:
    strengths = torch.linspace(0.5, 1.5, len(noise(0))).reshape(-1, 1, 1, 1, 1)
    decoded = torch.full(SHAPE, 0.5)
    texture = measure_texture(decoded + 0.05 * strengths * noise(0), decoded)
    added = torch.cat([texture.add(decoded, noise(seed)) - decoded for seed in range(1, 20)])
    found = added.flatten(1).std(dim=1)
    assert abs(found.min() / found.mean() - 0.5) < 0.1
    assert abs(found.max() / found.mean() - 1.5) < 0.1


def test_the_strength_is_the_quantile_of_the_noise_s_own_draw() -> None:
    texture = Texture(torch.ones(12, 14, 7), torch.ones(16), torch.linspace(1, 2, 11))
    drawn = noise(3)
    normal = drawn.double().flatten(1).sum(1) / (12 * 14 * 12) ** 0.5
    wanted = 1 + torch.from_numpy(norm.cdf(normal.numpy()))
    ratio = (texture.add(torch.zeros(SHAPE), drawn) / drawn).flatten(1).median(dim=1).values
    assert (ratio - wanted).abs().max() < 0.06  # steps of 0.1


def test_each_image_depends_on_its_own_noise_alone() -> None:
    decoded = torch.full(SHAPE, 0.5)
    texture = measure_texture(decoded + 0.05 * coloured(0), decoded)
    whole = texture.add(decoded, noise(1))
    torch.testing.assert_close(texture.add(decoded[5:6], noise(1)[5:6]), whole[5:6])
