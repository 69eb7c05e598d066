"""The control methods that add features inside the prior's U-Net: ControlNets and T2I-Adapter.

References:
    Zhang et al. 2023, arXiv 2302.05543 (ControlNet, and the ablation with a lighter encoder); Mou
    et al. 2023, arXiv 2302.08453 (T2I-Adapter).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of
from vcmaug.ldm.spec import PriorSpec

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork

__all__ = ["ControlNet", "ControlNetLite", "ControlNetMLP", "T2IAdapter"]


class ControlNet(ControlMethod):
    """A trainable copy of the prior's encoder; the prior decides all but its condition encoder."""

    unused_in_release: ClassVar[int | None] = 0

    name: Literal["controlnet"] = "controlnet"
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )

    def network(
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.controlnet import ControlNetNetwork

        return ControlNetNetwork(
            spec=spec,
            num_structures=width_of(names, num_structures),
            encoder_channels=self.encoder_channels,
        )


class _PlainConvolutions(ControlMethod):
    """The skips of a U-Net from convolutions over the condition; a part states their size."""

    unused_in_release: ClassVar[int | None] = 1_312_768
    kernel_size: ClassVar[int]

    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )

    def network(
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.controlnet import ControlNetLiteNetwork

        return ControlNetLiteNetwork(
            method=self.name,
            encoder_channels=self.encoder_channels,
            kernel_size=self.kernel_size,
            num_structures=width_of(names, num_structures),
            spec=spec,
        )


class ControlNetLite(_PlainConvolutions):
    """The skips of a U-Net from convolutions of 3x3x3 voxels over the condition."""

    kernel_size: ClassVar[int] = 3

    name: Literal["controlnet_lite"] = "controlnet_lite"


class ControlNetMLP(_PlainConvolutions):
    """The skips of a U-Net from convolutions of one voxel over the condition."""

    kernel_size: ClassVar[int] = 1

    name: Literal["controlnet_mlp"] = "controlnet_mlp"


class T2IAdapter(ControlMethod):
    """An adapter of the prior's encoder; the prior decides the widths."""

    name: Literal["t2i_adapter"] = "t2i_adapter"

    def network(
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.controlnet import T2IAdapterNetwork

        return T2IAdapterNetwork(num_structures=width_of(names, num_structures), spec=spec)
