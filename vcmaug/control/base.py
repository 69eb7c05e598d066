"""What every control is: an encoder of conditions, and a denoiser that holds a denoiser.

What it is: the protocol, and the few facts that travel with a trained control.
In the flow: trained by `training/control.py`, loaded by generation's workers.
Sources: azula's guidance, where a guided denoiser holds the denoiser that it guides.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from vcmaug.ldm.denoiser import Denoiser

__all__ = ["Control"]


class Control(Protocol):
    """A trained control with its card."""

    @property
    def card(self) -> Mapping[str, Any]:
        """What is known of it: `subjects`, `scheme`, `prior_sha256`, `weights_sha256`."""
        ...

    def encode(self, one_hot: Tensor) -> Tensor:
        """Return the encoded condition, once per sample, of label maps [B, K, X, Y, Z]."""
        ...

    def expected(self, encoded: Tensor) -> Tensor | None:
        """Return the latents [B, L, x, y, z] that a condition alone lets one expect.

        A draw that starts below the top of the schedule starts there; None: at the prior's mean.
        """
        ...

    def steer(
        self,
        denoiser: Denoiser,
        *,
        strength: float = 1.0,
        interval: tuple[float, float] = (0.0, 1.0),
    ) -> Denoiser:
        """Return a denoiser that holds `denoiser` and bends it towards the encoded condition.

        Args:
            denoiser: The frozen prediction.
            strength: Scales the modulation; 0 is the frozen prediction, 1 as trained.
            interval: Share of the schedule, from 0 (no noise) to 1 (all noise), in which the
                control acts; outside it the frozen prediction is returned.
        """
        ...
