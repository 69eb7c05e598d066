"""ControlNet-mlp: plain convolutions of single voxels over the condition.

References:
    Zhang et al. 2023, arXiv 2302.05543 (the ablation with a lighter encoder).
"""

from typing import ClassVar, Literal

from vcmaug.control.methods.controlnet_lite import PlainConvolutions

__all__ = ["ControlNetMLP"]


class ControlNetMLP(PlainConvolutions):
    """The skips of a U-Net from convolutions of one voxel over the condition."""

    kernel_size: ClassVar[int] = 1

    name: Literal["controlnet_mlp"] = "controlnet_mlp"
