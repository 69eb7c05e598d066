"""The U-Net of a control that modulates, on latent grids that its halvings do not divide.

MONAI's `DiffusionModelUNet` fails in its forward pass where a skip is one cell longer; here the
input is padded with zeros and the output cut again. Attention is fused.
"""

from typing import Any

from monai.networks.nets import DiffusionModelUNet
from torch import Tensor
from torch.nn import functional

__all__ = ["AnyGridUNet"]


class AnyGridUNet(DiffusionModelUNet):  # type: ignore[misc]
    """Weights, names and, where nothing is to be padded, numbers are those of MONAI's.

    Args:
        settings: Of `DiffusionModelUNet`.

    Notes:
        Attention is fused: its matrix is never stored. Numbers differ from those of plain attention
        by rounding.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, use_flash_attention=True)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Return features [B, out, x, y, z] of an input [B, in, x, y, z] at timesteps [B]."""
        width, height, depth = x.shape[2:]
        step = 2 ** (len(self.block_out_channels) - 1)
        padding = (0, -depth % step, 0, -height % step, 0, -width % step)  # the last axis first
        result: Tensor = super().forward(functional.pad(x, padding), timesteps)
        return result[:, :, :width, :height, :depth]
