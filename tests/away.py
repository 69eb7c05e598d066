"""A second device where there is none: tensors that say they lie there, computed on the CPU.

As on a GPU, an operation refuses tensors of two devices, but for copies from one to the other and
for single numbers. Tensors say that their device is `meta`, which every build of PyTorch knows.
"""

from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

AWAY = torch.device("meta")
_COPIES = {"_to_copy", "copy_", "set_"}


class AwayTensor(Tensor):
    """A tensor that lies on the other device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Self:
        """Return a tensor of the same shape and type that says it lies away."""
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=AWAY
        )
        made.held = held
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """Say, as PyTorch asks it, that a module may swap its weights for such tensors."""
        return ["held"], None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be saved as a tensor of the CPU, as `map_location` would load it."""
        return self.held.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute as within the device's context."""
        del types
        return _computed(func, args, kwargs or {})


class AwayDevice(TorchDispatchMode):
    """The context within which the device is there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU what is asked of either device."""
        del types
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operation gives, on the device of its tensors or the one asked for."""
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    away = [one for one in tensors if isinstance(one, AwayTensor)]
    here = [one for one in tensors if not isinstance(one, AwayTensor) and one.dim() > 0]
    name = func.overloadpacket.__name__
    if away and here and name not in _COPIES:
        raise RuntimeError(f"{name}: expected all tensors on one device, found two")
    asked = kwargs.get("device")
    goes_away = bool(away) if asked is None else torch.device(asked) == AWAY
    if name == "copy_":
        goes_away = isinstance(args[0], AwayTensor)
    inner_args, inner_kwargs = tree_map_only(AwayTensor, lambda one: one.held, (args, kwargs))
    if asked is not None:
        inner_kwargs = {**inner_kwargs, "device": torch.device("cpu")}
    result = func(*inner_args, **inner_kwargs)
    known = {id(one.held): one for one in away}
    if not goes_away:
        return result
    return tree_map_only(
        Tensor, lambda one: known[id(one)] if id(one) in known else AwayTensor(one), result
    )
