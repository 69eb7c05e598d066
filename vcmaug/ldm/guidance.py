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
from vcmaug.ldm.spec import PriorSpec

__all__ = ["GuidedDenoiser", "guidance_fault", "partly_left_out"]

_LEFT_OUT = -1.0  # no scalar is: they lie in [0, 1], and none beyond [-0.5, 1.5] is taken


@dataclass(frozen=True)
class GuidedDenoiser:
    """The denoiser that guidance makes of another.

    Attributes:
        denoiser: Steered or not.
        scale: 0 is the prediction without scalars, 1 the one with them, more goes beyond it.
    """

    denoiser: Denoiser
    scale: float

    def __call__(self, z_t: Tensor, t: Tensor, context: Context) -> Tensor:
        """Return the guided prediction [B, L, x, y, z]; the denoiser is asked twice."""
        told = self.denoiser(z_t, t, context)
        if context.scalars is None:
            return told
        nothing = torch.full_like(context.scalars, _LEFT_OUT)
        untold = self.denoiser(z_t, t, replace(context, scalars=nothing))
        return untold + self.scale * (told - untold)


def guidance_fault(spec: PriorSpec, scale: float) -> str:
    """Return in a sentence why a prior cannot be guided, or nothing."""
    if scale == 1.0 or (spec.scalars and spec.drop_scalars > 0):
        return ""
    lacks = "always saw its scalars in training" if spec.scalars else "has no scalars"
    return (
        f"guidance is {scale:g}, and prior {spec.name!r} {lacks}; set it to 1, or train a prior "
        "with scalars and drop_scalars"
    )


def partly_left_out(scalars: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return scalars [B, S], for about a share of the samples left out."""
    left_out = torch.rand(len(scalars), 1, generator=generator) < share
    return torch.where(left_out, torch.full_like(scalars, _LEFT_OUT), scalars)
