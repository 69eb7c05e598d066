"""T2I-Adapter: features of the condition, added to the encoder of the prior's U-Net.

References:
    Mou et al. 2023, arXiv 2302.08453.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from vcmaug.control.method import ControlMethod
from vcmaug.control.shown import ALONE, width_of

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork
    from vcmaug.ldm.spec import PriorSpec

__all__ = ["T2IAdapter"]


class T2IAdapter(ControlMethod):
    """An adapter of the prior's encoder; the prior decides the widths."""

    name: Literal["t2i_adapter"] = "t2i_adapter"

    def network(
        self, spec: "PriorSpec", *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network; see `ControlMethod.network`."""
        from vcmaug.control.networks.t2i_adapter import T2IAdapterNetwork

        return T2IAdapterNetwork(num_structures=width_of(names, num_structures), spec=spec)
