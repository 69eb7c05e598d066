"""ControlNet-lite: plain convolutions over the condition.

References:
    Zhang et al. 2023, arXiv 2302.05543 (the ablation with a lighter encoder).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork
    from vcmaug.ldm.spec import PriorSpec

__all__ = ["ControlNetLite", "PlainConvolutions"]


class PlainConvolutions(ControlMethod):
    """The skips of a U-Net from convolutions over the condition; a part states their size."""

    unused_in_release: ClassVar[int | None] = 1_312_768
    kernel_size: ClassVar[int]

    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )

    def network(
        self, spec: "PriorSpec", *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.controlnet_lite import ControlNetLiteNetwork

        return ControlNetLiteNetwork(
            method=self.name,
            encoder_channels=self.encoder_channels,
            kernel_size=self.kernel_size,
            num_structures=width_of(names, num_structures),
            spec=spec,
        )


class ControlNetLite(PlainConvolutions):
    """The skips of a U-Net from convolutions of 3x3x3 voxels over the condition."""

    kernel_size: ClassVar[int] = 3

    name: Literal["controlnet_lite"] = "controlnet_lite"
