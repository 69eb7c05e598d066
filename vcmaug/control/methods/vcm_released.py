"""The VCM as it was released, faults and all, for its checkpoint and for comparison."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork
    from vcmaug.ldm.spec import PriorSpec

__all__ = ["VCMReleased"]


class VCMReleased(ControlMethod):
    """The VCM with the widths of its release, and the switch that its checkpoint needs."""

    unused_in_release: ClassVar[int | None] = 394_752

    name: Literal["vcm_released"] = "vcm_released"
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, each halves the grid; None: as needed"
    )
    channels: tuple[int, ...] = (64, 128, 256)
    norm_num_groups: int = Field(32, ge=1)
    hidden_channels: int = Field(128, ge=1)
    head_norm: bool = Field(True, description="instance normalisation of gamma and beta")

    def network(
        self, spec: "PriorSpec", *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.vcm_released import VCMReleasedNetwork

        return VCMReleasedNetwork(
            spec=spec,
            num_structures=width_of(names, num_structures),
            **self.model_dump(exclude={"name"}),
        )
