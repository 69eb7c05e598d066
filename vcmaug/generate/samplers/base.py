"""What every sampler has: its settings, its timesteps, and one step between two of them.

A sampler sees predictions of the noise and alpha_bar, and nothing of controls or conditions.

References:
    Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", arXiv
    2305.08891 (trailing timesteps, and the mean of a draw). Zheng et al. 2022, "Truncated diffusion
    probabilistic models", arXiv 2202.09671 (a start below the top of the schedule).

Notes:
    Timesteps are computed here and recorded in every manifest, since libraries differ in their
    spacing from version to version. The last step always ends at alpha_bar = 1.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcmaug.errors import CohortError
from vcmaug.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Position", "Sampler"]


@dataclass(frozen=True, kw_only=True)
class Position:
    """What is known at one timestep of a draw; tensors are [B, L, x, y, z].

    Attributes:
        z_t: Latents at this timestep.
        z_0: The clean latents that are predicted from them.
        epsilon: The noise that is predicted in them.
        previous_z_0: The prediction one step earlier; None at the first step.
        alphas: alpha_bar of the step before, of this one, and of the next.
        fresh: Standard normal noise of this step, for stochastic samplers alone.
        predict_next: Predicts the noise in latents at the next timestep.
    """

    z_t: "Tensor"
    z_0: "Tensor"
    epsilon: "Tensor"
    previous_z_0: "Tensor | None"
    alphas: tuple[float, float, float]
    fresh: "Tensor | None"
    predict_next: "Callable[[Tensor], Tensor]"


class Sampler(Part):
    """A solver with the list of timesteps that it walks along.

    Attributes:
        stochastic: Whether each step takes fresh noise.
    """

    family: ClassVar[str] = "sampler"
    home: ClassVar[str] = "vcmaug.generate.samplers"
    unnamed: ClassVar[str] = "ddim"
    stochastic: ClassVar[bool] = False

    steps: int = Field(25, ge=1)
    spacing: Literal["trailing", "leading"] = "trailing"
    start: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the schedule that is walked; below 1 from the latents that the "
        "condition lets the control expect, else from the prior's mean",
    )

    def timesteps(self, num_timesteps: int) -> tuple[int, ...]:
        """Return the timesteps of a draw, falling; trailing begins at its start, leading ends at 0.

        Args:
            num_timesteps: Of the prior's schedule.

        Raises:
            CohortError: There are more steps than timesteps.

        Examples:
            >>> from vcmaug.generate.samplers import DDIM
            >>> DDIM(steps=4).timesteps(1000)
            (999, 749, 499, 249)
            >>> DDIM(steps=4, spacing="leading").timesteps(1000)
            (750, 500, 250, 0)
            >>> DDIM(steps=2, start=0.6).timesteps(1000)
            (599, 299)
        """
        first = round(self.start * num_timesteps)
        if self.steps > first:
            raise CohortError(
                f"planning a cohort: {self.steps} sampler steps were requested and {first} of the "
                f"prior's {num_timesteps} timesteps are walked. Lower sampler.steps."
            )
        width = first / self.steps
        if self.spacing == "trailing":
            return tuple(round(first - k * width) - 1 for k in range(self.steps))
        return tuple(round((self.steps - 1 - k) * width) for k in range(self.steps))

    @abstractmethod
    def step(self, position: Position) -> "Tensor":
        """Return z at the next timestep [B, L, x, y, z]; never asked at the last one."""
