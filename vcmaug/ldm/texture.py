"""The texture that a decoder leaves out: what is random in an image, given its latent.

A spectrum, a strength per grey value, and the spread of strengths between images are measured once
after the autoencoder's training; texture is then added to every decoded draw.

References:
    A decoder's likelihood p(x | z) = N(decode(z), covariance), Kingma and Welling 2014, arXiv
    1312.6114; Gaussian texture from its power spectrum, Galerne et al. 2011, IEEE TIP 20(1).

Notes:
    Showing the decoder's mean alone, as is the custom, gives images smoother than any real one:
    noise and fine texture do not pass through a latent. Here the residual of real images is taken
    as stationary after division by its strength at the decoded grey value, and drawn anew.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Texture", "measure_texture"]

_NUM_LEVELS = 16
_NUM_STRENGTHS = 32
_LEAST = 1e-4


@dataclass(frozen=True)
class Texture:
    """What is needed to draw residuals.

    Attributes:
        gain: Amplitude per frequency of a residual of unit variance, [X, Y, Z // 2 + 1].
        levels: Root mean square of the residual at decoded grey values 0 ... 1, evenly spaced.
        strengths: Quantiles over images of a residual's strength against `levels`.
    """

    gain: Tensor
    levels: Tensor
    strengths: Tensor

    def to(self, device: str) -> "Texture":
        """Return the texture on another device."""
        return Texture(**{name: part.to(device) for name, part in vars(self).items()})

    def add(self, decoded: Tensor, noise: Tensor) -> Tensor:
        """Return decoded images with a residual, [B, C, X, Y, Z], not clipped.

        Args:
            decoded: Means of the decoder [B, C, X, Y, Z].
            noise: Standard normal draws of that shape; the strength follows from them too.
        """
        grid = decoded.shape[2:]
        spectrum = torch.fft.rfftn(noise, dim=(2, 3, 4)) * self.gain  # [B, C, X, Y, Z // 2 + 1]
        unit = torch.fft.irfftn(spectrum, s=grid, dim=(2, 3, 4))
        textured: Tensor = decoded + unit * self._strength(noise) * _at(self.levels, decoded)
        return textured

    def _strength(self, noise: Tensor) -> Tensor:
        """Return one strength per image, [B, 1, 1, 1, 1], uniform over the quantiles.

        The sum of the noise is the only thing read of it, scaled to a standard normal draw; it is
        the mean of the residual, which the gain takes away.
        """
        flat = noise.flatten(start_dim=1)
        normal = flat.sum(dim=1) / flat.shape[1] ** 0.5  # [B]
        place = torch.special.ndtr(normal) * (len(self.strengths) - 1)
        chosen: Tensor = self.strengths[place.round().long()]
        return chosen.reshape(-1, 1, 1, 1, 1)


def _at(levels: Tensor, grey: Tensor) -> Tensor:
    """Return levels at grey values, interpolated linearly; beyond [0, 1] the last one."""
    place = grey.clamp(0.0, 1.0) * (len(levels) - 1)
    lower = place.floor().long().clamp(max=len(levels) - 2)
    share = place - lower
    between: Tensor = levels[lower] * (1.0 - share) + levels[lower + 1] * share
    return between


def measure_texture(images: Tensor, decoded: Tensor) -> Texture:
    """Return the texture of real images against their reconstructions.

    Args:
        images: [N, C, X, Y, Z] in [0, 1].
        decoded: What the autoencoder makes of them, likewise.
    """
    residual = images - decoded
    levels = _levels(residual, decoded)
    expected = _at(levels, decoded)  # [N, C, X, Y, Z]
    energy, wanted = (x.flatten(start_dim=1).pow(2).sum(dim=1) for x in (residual, expected))
    strengths = (energy / wanted).sqrt()  # [N]
    unit = residual / expected / strengths.reshape(-1, 1, 1, 1, 1)
    power = torch.fft.rfftn(unit, dim=(2, 3, 4), norm="ortho").abs().pow(2).mean(dim=(0, 1))
    power[0, 0, 0] = 0.0
    # of unit variance where there is texture, however much of the image has none
    white = torch.fft.irfftn(power.sqrt() + 0j, s=images.shape[2:]).pow(2).sum()
    gain = (power / white).sqrt()  # [X, Y, Z // 2 + 1]
    quantiles = torch.linspace(0.0, 1.0, _NUM_STRENGTHS, dtype=strengths.dtype)
    return Texture(gain=gain, levels=levels, strengths=torch.quantile(strengths, quantiles))


def _levels(residual: Tensor, decoded: Tensor) -> Tensor:
    """Return the root mean square of residuals by grey value, gaps filled from below."""
    place = (decoded.clamp(0.0, 1.0) * (_NUM_LEVELS - 1)).round().long().flatten()
    total = torch.zeros(_NUM_LEVELS).index_add_(0, place, residual.pow(2).flatten())
    count = torch.bincount(place, minlength=_NUM_LEVELS)
    levels = (total / count.clamp(min=1)).sqrt()
    for level in range(1, _NUM_LEVELS):
        if count[level] == 0:
            levels[level] = levels[level - 1]
    return levels.clamp(min=_LEAST)
