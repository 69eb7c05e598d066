"""The family of control methods: settings, and the network that they stand for.

A recipe names one (`control: vcm`, or `network: {name: vcm, layout: true}`), Python makes one
(`VCM(layout=True)`). Training takes a network from it, and its settings stand on a control's card.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import TypeAdapter

from vcmaug.control.shown import ALONE
from vcmaug.ldm.spec import PriorSpec
from vcmaug.parts import Part

if TYPE_CHECKING:
    from vcmaug.control.network import ControlNetwork

__all__ = ["ControlMethod", "control_method"]


class ControlMethod(Part):
    """A way to steer a frozen prior.

    Attributes:
        unused_in_release: Parameters in released code of the same network at the width of BrainLDM
            that nothing uses; None: there is no such code.
    """

    family: ClassVar[str] = "control"
    home: ClassVar[str] = "vcmaug.control.methods"
    renamed: ClassVar[Mapping[str, str]] = {"method": "name"}
    unused_in_release: ClassVar[int | None] = None

    @property
    def expects_latents(self) -> bool:
        """Whether a condition alone lets a draw expect latents to start from."""
        return False

    @abstractmethod
    def network(
        self, spec: PriorSpec, *, num_structures: int, names: Sequence[str] = ALONE
    ) -> "ControlNetwork":
        """Return a new network for a prior.

        Args:
            spec: Of the prior.
            num_structures: K, of the label map.
            names: Channels that it is shown.

        Raises:
            ModelError: The condition's encoder does not end on the prior's latent grid.
        """

    def num_parameters(self, spec: PriorSpec, *, num_structures: int) -> dict[str, int]:
        """Return how many parameters of its network are used on a prior.

        Where released code of the same network stores more than it uses, that number too.
        """
        from vcmaug.ldm.weights import num_parameters

        used = num_parameters(lambda: self.network(spec, num_structures=num_structures))
        if spec.name != "brainldm" or self.unused_in_release is None:
            return {"used": used}
        return {"used": used, "stored_in_the_release": used + self.unused_in_release}


_METHOD: TypeAdapter[ControlMethod] = TypeAdapter(ControlMethod)


def control_method(content: object) -> ControlMethod:
    """Return the method that a name or settings with a name stand for.

    Examples:
        >>> control_method("mcm").name
        'mcm'
    """
    return _METHOD.validate_python(content)
