"""Weights on disk: safetensors, every key checked, and the hash by which a network is known.

Priors and controls are saved and loaded through here, and nothing is unpickled.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vcmaug.errors import ModelError
from vcmaug.files import write_bytes

__all__ = [
    "fill_module",
    "hash_of_weights",
    "in_half_precision",
    "names_of_weights",
    "num_parameters",
    "read_weights",
    "refuse_other_weights",
    "write_weights",
]


def hash_of_weights(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, shapes, types and bytes of tensors, in order of names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(path: Path, weights: Mapping[str, Tensor], *, half: bool = False) -> None:
    """Write tensors atomically as safetensors.

    Args:
        path: Ends in `.safetensors`.
        weights: A state dict.
        half: Store floating-point tensors in half precision.
    """
    kept = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in weights.items()
    }
    write_bytes(path, save(kept))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, floating point as float32.

    Raises:
        ModelError: The file is missing or damaged.
    """
    with _weights_being_read(path):
        stored = load_file(path)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in stored.items()
    }


def names_of_weights(path: Path) -> list[str]:
    """Return the names in a safetensors file; the tensors are not read.

    Raises:
        ModelError: The file is missing or damaged.
    """
    with _weights_being_read(path), safe_open(path, framework="pt") as stored:
        return list(stored.keys())


@contextmanager
def _weights_being_read(path: Path) -> Iterator[None]:
    """Say of a file that is missing or damaged what it is and what to do."""
    try:
        yield
    except FileNotFoundError:
        raise ModelError(
            f"reading weights {path}: there is no such file. Train first, or name the folder of a "
            "finished prior or control."
        ) from None
    except SafetensorError as fault:
        raise ModelError(
            f"reading weights {path}: the file is damaged ({fault}). Copy or train it again."
        ) from None


def in_half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as they come back from half precision; those of whole numbers as they are."""
    return {
        name: tensor.half().float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }


def refuse_other_weights(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], *, doing: str
) -> None:
    """Refuse weights whose names or shapes are not those of a network.

    Args:
        weights: By name.
        own: Those of the network.
        doing: What they are needed for, such as `loading FILE`.

    Raises:
        ModelError: Counts those that are unknown, missing or of another shape.
    """
    unknown, missing = sorted(set(weights) - set(own)), sorted(set(own) - set(weights))
    other = [name for name in own if name in weights and weights[name].shape != own[name].shape]
    if unknown or missing or other:
        raise ModelError(
            f"{doing}: {len(unknown)} of its {len(weights)} keys are unknown, {len(missing)} are "
            f"missing and {len(other)} have another shape (the first: "
            f"{[*unknown, *missing, *other][0]}). It is the file of another model."
        )


def fill_module(module: nn.Module, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Load weights into a module; every one must be used and none may be missing.

    Raises:
        ModelError: The file holds the weights of another network.
    """
    refuse_other_weights(weights, module.state_dict(), doing=f"loading {source}")
    module.load_state_dict(dict(weights))


def num_parameters(make: Callable[[], nn.Module]) -> int:
    """Return the parameters of the network that a call makes, on a device without memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())
