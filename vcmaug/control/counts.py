"""How many parameters a network has, without room for a single one of them.

What it is: counting on the meta device.
In the flow: `info` counts priors and controls whose weights are not there.
Sources: none.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from vcmaug.control.build import build_network, control_settings
from vcmaug.ldm.spec import PriorSpec

__all__ = ["control_counts", "num_parameters"]

_UNUSED: Mapping[str, int] = {  # in released code at the width of BrainLDM, used by nothing
    "vcm_released": 394_752,
    "controlnet": 0,
    "controlnet_lite": 1_312_768,
    "controlnet_mlp": 1_312_768,
}


def num_parameters(make: Callable[[], nn.Module]) -> int:
    """Return the parameters of the network that a call makes; none is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


def control_counts(method: str, *, spec: PriorSpec, channels: int) -> dict[str, Any]:
    """Return the default settings of a method and its parameters on a prior.

    Args:
        method: One of `control.build.METHODS`.
        spec: Of the prior.
        channels: Structures of the condition.

    Returns:
        `num_parameters` has those that are used, and those stored by released code of the same
        network, where there is such code.
    """
    settings = control_settings({"method": method})
    used = num_parameters(lambda: build_network(settings, spec=spec, num_structures=channels))
    counts = {"used": used}
    if spec.name == "brainldm" and method in _UNUSED:
        counts["stored_in_the_release"] = used + _UNUSED[method]
    return {
        "method": method,
        "channels": channels,
        "settings": settings.model_dump(mode="json"),
        "num_parameters": counts,
    }
