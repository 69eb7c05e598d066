"""ControlNet: a trainable copy of the prior's encoder.

References:
    Zhang et al. 2023, arXiv 2302.05543.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork
    from vcmaug.ldm.spec import PriorSpec

__all__ = ["ControlNet"]


class ControlNet(ControlMethod):
    """A trainable copy of the prior's encoder; the prior decides all but its condition encoder."""

    unused_in_release: ClassVar[int | None] = 0

    name: Literal["controlnet"] = "controlnet"
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )

    def network(
        self, spec: "PriorSpec", *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.controlnet import ControlNetNetwork

        return ControlNetNetwork(
            spec=spec,
            num_structures=width_of(names, num_structures),
            **self.model_dump(exclude={"name"}),
        )
