"""How many parameters a network has, counted on the meta device without room for one of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vcmaug.control.method import ControlMethod
from vcmaug.ldm.spec import PriorSpec

__all__ = ["control_counts", "num_parameters"]


def num_parameters(make: Callable[[], nn.Module]) -> int:
    """Return the parameters of the network that a call makes; none is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


def control_counts(method: ControlMethod, *, spec: PriorSpec, channels: int) -> dict[str, Any]:
    """Return the settings of a method and its parameters on a prior.

    Args:
        method: Counted as it is set.
        spec: Of the prior.
        channels: Structures of the condition.

    Returns:
        `num_parameters` has those that are used, and those stored by released code of the same
        network, where there is such code.
    """
    used = num_parameters(lambda: method.network(spec, num_structures=channels))
    counts, unused = {"used": used}, method.unused_in_release
    if spec.name == "brainldm" and unused is not None:
        counts["stored_in_the_release"] = used + unused
    return {
        "name": method.name,
        "channels": channels,
        "settings": method.model_dump(mode="json"),
        "num_parameters": counts,
    }
