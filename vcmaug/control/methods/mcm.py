"""MCM in 3D: output modulation, the condition brought to the latent grid by averaging.

References:
    Ham et al. 2023, arXiv 2302.12764.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork
    from vcmaug.ldm.spec import PriorSpec

__all__ = ["MCM"]


class MCM(ControlMethod):
    """Output modulation by the U-Net of a VCM without its condition encoder."""

    name: Literal["mcm"] = "mcm"
    channels: tuple[int, ...] = (64, 128, 256)
    attention_levels: tuple[bool, ...] = (False, True, True)
    num_res_blocks: int = Field(2, ge=1)
    num_head_channels: int | tuple[int, ...] = (0, 128, 256)
    hidden_channels: int = Field(128, ge=1, description="features shared by the two heads")
    norm_num_groups: int = Field(32, ge=1)

    def network(
        self, spec: "PriorSpec", *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.mcm import MCMNetwork

        return MCMNetwork(
            spec=spec,
            num_structures=width_of(names, num_structures),
            **self.model_dump(exclude={"name"}),
        )
