"""Released files: where they lie, and their tensors, read without running anything in them.

References:
    `large_files.yml` of the MONAI bundle brain_image_synthesis_latent_diffusion_model.
"""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcmaug.errors import ModelError

__all__ = ["files_of_bundle", "md5_of_file", "read_released"]

_BUNDLES = (("autoencoder.pt", "model.pt"), ("autoencoder.pth", "diffusion_model.pth"))
_WRAPPERS = ("state_dict", "model_state_dict", "model", "checkpoint")  # around the tensors
_PREFIXES = (  # of compiled networks, of data-parallel training, and of what a network is kept in
    *("_orig_mod.", "module.", "model.", "network.", "net.", "unet.", "autoencoder."),
)
_BLOCK = 1 << 22
_NUM_FIRST, _NUM_SHOWN = 512, 80  # bytes that are looked at, characters in a message
_PAGES = ("<!doctype html", "<html", "<head", "<?xml")
_REFUSED = re.compile(r"GLOBAL ([\w.]+) was not an allowed|GLOBAL ([\w.]+) whose module")


def files_of_bundle(folder: Path) -> tuple[Path, Path]:
    """Return the files of autoencoder and diffusion U-Net in a folder of the MONAI bundle.

    Args:
        folder: The bundle, or its folder `models`; its releases name the files differently.

    Raises:
        ModelError: The two files of no release are there; names all that were looked for.
    """
    places = (folder / "models", folder)
    pairs = [(place / first, place / second) for place in places for first, second in _BUNDLES]
    for pair in pairs:
        if all(path.is_file() for path in pair):
            return pair
    looked = "".join(f"\n  {first} and {second}" for first, second in pairs)
    found = [str(path) for pair in pairs for path in pair if path.is_file()]
    raise ModelError(
        f"importing BrainLDM from bundle {folder}: expected one of these pairs of files, found "
        f"{', '.join(found) or 'none of them'}.{looked}\nDownload both files of a pair, or name "
        "them with --autoencoder and --diffusion."
    )


def md5_of_file(path: Path) -> str:
    """Return the MD5 of a file, by which released weights are known."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_released(path: Path, *, network: str = "") -> dict[str, Tensor]:
    """Return the tensors of a PyTorch file, without the prefixes that all their names share.

    Args:
        path: A state dict, or a checkpoint with one in it.
        network: Of several state dicts in a checkpoint, the one whose name has this word.

    Raises:
        ModelError: The file is missing, damaged, no checkpoint, holds more than tensors, or several
            state dicts of which none is the one meant.
    """
    try:
        with path.open("rb") as stream:
            first = stream.read(_NUM_FIRST)
    except FileNotFoundError:
        raise ModelError(f"importing {path}: there is no such file.") from None
    except OSError as fault:
        raise ModelError(
            f"importing {path}: it cannot be read ({fault.strerror}). Name the released file."
        ) from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols, on any odd file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # bytes that are no checkpoint make it raise almost anything
        raise ModelError(f"importing {path}: {_what_it_is(path, first, fault)}") from None
    return _without_prefixes(_tensors_in(content, path, network))


def _what_it_is(path: Path, first: bytes, fault: Exception) -> str:
    """Return what a file is that PyTorch did not load, and what to do."""
    text, refused = _text_of(first), _refused_global(path, fault)
    if refused and not text:
        return (
            f"the file holds more than tensors, and reading it would run code ({refused}). It is "
            "not read; get the released file."
        )
    what, advice = "it is text" if text else _reason(fault), "Download it again."
    if not first:
        what = "it is empty"
    if text.lower().startswith(_PAGES):
        what, advice = "it is a web page", "Open the link in a browser and confirm the download."
    found = f", beginning {text[:_NUM_SHOWN]!r}" if text else ""
    size = path.stat().st_size
    return f"the file is damaged or no checkpoint: {what} ({size:,} bytes{found}). {advice}"


def _text_of(first: bytes) -> str:
    """Return how a file of text begins, on one line; nothing for any other file.

    Examples:
        >>> _text_of(b"<html>  <p>"), _text_of(bytes(4))
        ('<html> <p>', '')
    """
    if any(byte < 9 or 13 < byte < 32 for byte in first):  # control characters, no white space
        return ""
    return " ".join(first.decode("utf-8", errors="ignore").split())


def _refused_global(path: Path, fault: Exception) -> str:
    """Return the function or class that a file names and that was refused, or nothing."""
    found = _REFUSED.search(str(fault)) if isinstance(fault, pickle.UnpicklingError) else None
    if found is None:
        return ""
    refused = found[1] or found[2]
    with path.open("rb") as stream:
        stream.seek(-min(_NUM_FIRST, path.stat().st_size), 2)
        last_line = stream.read().rpartition(b"\n")[2]
    cut_short = last_line.startswith(refused.rpartition(".")[2].encode())  # within the name
    return "" if cut_short else str(refused)


def _reason(fault: Exception) -> str:
    """Return a fault on one line, without PyTorch's advice to load the file all the same."""
    line = "" if isinstance(fault, pickle.UnpicklingError) else str(fault).partition("\n")[0]
    return f"{type(fault).__name__}{': ' if line else ''}{line[:_NUM_SHOWN]}"


def _tensors_in(content: Any, path: Path, network: str) -> dict[str, Tensor]:
    """Return the tensors by name, out of their wrapping."""
    while inner := _state_dicts_in(content):
        named = [name for name in inner if network and network in name] or [
            *(name for name in _WRAPPERS if name in inner),
            *(inner if len(inner) == 1 else ()),
        ]
        if not named:
            raise ModelError(
                f"importing {path}: it holds several networks ({', '.join(inner)}), expected one. "
                "Save the one that is meant as a state dict of its own."
            )
        content = inner[named[0]]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"importing {path}: expected names and tensors, found {type(content)}.")
    wrong = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ModelError(
            f"importing {path}: expected tensors alone, found {type(content[wrong[0]])} under "
            f"{wrong[0]!r}."
        )
    return {str(name): tensor for name, tensor in content.items()}


def _state_dicts_in(content: Any) -> dict[str, Any]:
    """Return what in a checkpoint holds tensors by name, or may hold such; optimisers do not."""
    inner = content if isinstance(content, Mapping) else {}
    return {
        str(name): value
        for name, value in inner.items()
        if isinstance(value, Mapping)
        and (name in _WRAPPERS or any(isinstance(one, Tensor) for one in value.values()))
    }


def _without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by their names without what is in front of all of them."""
    found = dict(tensors)
    while shared := [one for one in _PREFIXES if all(name.startswith(one) for name in found)]:
        found = {name.removeprefix(shared[0]): tensor for name, tensor in found.items()}
    return found
