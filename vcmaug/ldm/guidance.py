"""Guidance: a denoiser that holds a denoiser and strengthens what the scalars say.

A prior that left its scalars out for some samples in training can predict with them and without;
the draw then goes along the difference.

References:
    Ho and Salimans 2022, "Classifier-free diffusion guidance", arXiv 2207.12598, eq. 6.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vcmaug.ldm.denoiser import Context, Denoiser

__all__ = ["GuidedDenoiser", "partly_left_out"]

_LEFT_OUT = -1.0  # no scalar is: they lie in [0, 1], and none beyond [-0.5, 1.5] is taken


@dataclass(frozen=True)
class GuidedDenoiser:
    """The denoiser that guidance makes of another.

    The difference is that of the frozen prediction: a control has always seen the scalars.

    Attributes:
        denoiser: Steered, or the frozen one.
        frozen: The prior's own.
        scale: 0 is the prediction without scalars, 1 the one with them, more goes beyond it.
    """

    denoiser: Denoiser
    frozen: Denoiser
    scale: float

    def __call__(self, z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return the guided prediction [B, L, x, y, z]; the frozen one is asked twice more."""
        prediction = self.denoiser(z_t, t, context)
        if context.scalars is None:
            return prediction
        left_out = replace(context, scalars=torch.full_like(context.scalars, _LEFT_OUT))
        conditional = self.frozen(z_t, t, context)
        unconditional = self.frozen(z_t, t, left_out)
        return prediction + (self.scale - 1.0) * (conditional - unconditional)


def partly_left_out(scalars: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return scalars [B, S], for about a share of the samples left out."""
    left_out = torch.rand(len(scalars), 1, generator=generator) < share
    return torch.where(left_out, torch.full_like(scalars, _LEFT_OUT), scalars)
