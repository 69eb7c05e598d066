"""The control methods that modulate: the Volumetric Conditioning Module, its release, and MCM.

References:
    Ahn et al. 2025, WACV, arXiv 2410.21826; Ham et al. 2023, arXiv 2302.12764 (MCM).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of
from vcmaug.data.geometry import Grid
from vcmaug.data.grid_size import by_size
from vcmaug.ldm.spec import PriorSpec

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork

__all__ = ["MCM", "VCM", "VCMReleased"]


class VCM(ControlMethod):
    """A Volumetric Conditioning Module, the default control.

    The defaults are those of `recipes/hippocampus`, and on a larger grid of `recipes/brain-mini`;
    docs/controls.md compares them.
    """

    name: Literal["vcm"] = "vcm"
    stem_factor: int = Field(2, ge=1, description="edge of the block folded into channels")
    encoder_channels: tuple[int, ...] | None = Field(
        None, description="of the condition's encoder, a halving between two; None: as needed"
    )
    encoder_res_blocks: int = Field(1, ge=1)
    channels: tuple[int, ...] | None = Field(
        None, description="of its U-Net; None: as the prior's grid needs, from [48, 96] on"
    )
    attention_levels: tuple[bool, ...] = (False, True)
    num_res_blocks: int = Field(1, ge=1)
    num_head_channels: int = Field(16, ge=1)
    hidden_channels: int | None = Field(
        None,
        ge=1,
        description="features shared by the two heads; None: as the prior's grid needs, from 48 on",
    )
    norm_num_groups: int = Field(16, ge=1)
    layout: bool = Field(
        True, description="predict latents from the map alone, and learn where to follow them"
    )
    time_in_encoder: bool = Field(
        False, description="as in the paper's figure: the condition is encoded at every step"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        """Refuse a layout that would depend on the timestep."""
        if self.layout and self.time_in_encoder:
            raise ValueError("layout wants an encoder without time; set layout: false")
        return self

    @property
    def expects_latents(self) -> bool:
        """Whether a condition alone lets a draw expect latents to start from."""
        return self.layout

    def network(
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.vcm import VCMNetwork

        shapes, fitting = self.model_dump(exclude={"name"}), self.of_grid(spec.grid)
        shapes |= {name: width for name, width in fitting.items() if shapes[name] is None}
        return VCMNetwork(spec=spec, num_structures=num_structures, names=names, **shapes)

    @classmethod
    def of_grid(cls, grid: Grid) -> dict[str, object]:
        """Return the widths that depend on the grid, from the recipes in `data.grid_size`."""
        channels = (by_size(grid, (48, 64, 64), step=16), 96)
        return {"channels": channels, "hidden_channels": by_size(grid, (48, 48, 64), step=16)}


class VCMReleased(ControlMethod):
    """The VCM as it was released, faults and all, for its checkpoint and for comparison."""

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
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.vcm_released import VCMReleasedNetwork

        width, shapes = width_of(names, num_structures), self.model_dump(exclude={"name"})
        return VCMReleasedNetwork(spec=spec, num_structures=width, **shapes)


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
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.vcm import MCMNetwork

        width, shapes = width_of(names, num_structures), self.model_dump(exclude={"name"})
        return MCMNetwork(spec=spec, num_structures=width, **shapes)
