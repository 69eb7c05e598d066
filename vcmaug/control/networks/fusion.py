"""Feature fusion: what controls share that add features inside the frozen U-Net.

References:
    Zhang et al. 2023, arXiv 2302.05543; Mou et al. 2023, arXiv 2302.08453.
"""

from abc import abstractmethod

from torch import Tensor

from vcmaug.control.network import ControlNetwork, Steered
from vcmaug.errors import ModelError
from vcmaug.ldm.denoiser import Context, Denoiser, Encoded, Features, FrozenDenoiser

__all__ = ["FusionNetwork", "frozen_unet_of"]


def frozen_unet_of(denoiser: Denoiser, *, method: str) -> FrozenDenoiser:
    """Return the denoiser as the frozen U-Net that it must be.

    Raises:
        ModelError: It is another denoiser, such as one that a control steers already.
    """
    if not isinstance(denoiser, FrozenDenoiser):
        raise ModelError(
            f"steering with {method}: it adds features inside the prior's U-Net and cannot steer "
            f"a {type(denoiser).__name__}. Let it be the first control of the chain."
        )
    return denoiser


class FusionNetwork(ControlNetwork):
    """A control that adds features inside the frozen U-Net; z_t and the condition give them."""

    method: str

    @abstractmethod
    def features(self, z_t: Tensor, t: Tensor, *, context: Context, encoded: Encoded) -> Features:
        """Return what is added for an encoded condition."""

    def steered(
        self,
        denoiser: Denoiser,
        z_t: Tensor,
        *,
        t: Tensor,
        context: Context,
        encoded: Encoded,
        strength: float = 1.0,
    ) -> Steered:
        """Return the fused prediction; see `ControlNetwork.steered`."""
        unet = frozen_unet_of(denoiser, method=self.method)
        found = self.features(z_t, t, context=context, encoded=encoded)
        scaled = Features(
            skips=tuple(strength * one for one in found.skips),
            mid=None if found.mid is None else strength * found.mid,
            levels=tuple(strength * one for one in found.levels),
        )
        return Steered(unet.fused(z_t, t, context, scaled).float())
