"""Files of others: found in a bundle, read as tensors, and named for what they are."""

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vcmaug.errors import ModelError
from vcmaug.released.files import files_of_bundle, read_released

NAMES = [("autoencoder.pt", "model.pt"), ("autoencoder.pth", "diffusion_model.pth")]
PAGE = b"<!DOCTYPE html>\n<html><head><title>Virus scan warning</title></head><body>Too large"


@pytest.mark.parametrize("place", ["models", "."])
@pytest.mark.parametrize("names", NAMES)
def test_a_bundle_of_either_release_is_found(
    names: tuple[str, str], place: str, tmp_path: Path
) -> None:
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    (folder / names[0]).touch()
    with pytest.raises(ModelError) as caught:
        files_of_bundle(tmp_path)
    message = str(caught.value)
    assert f"found {folder / names[0]}.\n" in message
    for name in (name for pair in NAMES for name in pair):
        assert str(tmp_path / "models" / name) in message
        assert str(tmp_path / name) in message
    (folder / names[1]).touch()
    assert files_of_bundle(tmp_path) == tuple(folder / name for name in names)


class _Code:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never be printed",)


def saved(content: object, *, legacy: bool = False) -> bytes:
    """Return what PyTorch saves, in its zip or in its older form."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def tar() -> bytes:
    """Return an archive with a file in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights"), io.BytesIO())
    return stream.getvalue()


def refusal(content: bytes, folder: Path) -> str:
    """Return the error that a file of such bytes is refused with, after its path."""
    path = folder / "found.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_released(path)
    message = str(caught.value)
    assert message.startswith(f"importing {path}: ")
    assert "\n" not in message
    return message.removeprefix(f"importing {path}: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is empty (0 bytes)"),
        (b"hello", "it is text (5 bytes, beginning 'hello')"),
        (b"checkpoint\nmoved\n", "it is text (17 bytes, beginning 'checkpoint moved')"),
        (PAGE, f"it is a web page ({len(PAGE)} bytes, beginning '<!DOCTYPE html> <html><head>"),
        (tar(), "(10,240 bytes)"),
        (b"e" + bytes(600), "(601 bytes)"),
        (b"\x80", "(1 bytes)"),
        (saved({"a": torch.zeros(9)})[:-30], "RuntimeError: PytorchStreamReader failed"),
    ],
    ids=["empty", "text", "text-as-opcodes", "page", "tar", "pops", "one-byte", "cut"],
)
def test_what_is_no_checkpoint_is_named_for_what_it_is(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    message = refusal(content, tmp_path)
    assert message.startswith("the file is damaged or no checkpoint: ")
    assert expected in message


@pytest.mark.parametrize("legacy", [False, True])
def test_wherever_a_file_is_cut_it_is_damaged_and_no_more(legacy: bool, tmp_path: Path) -> None:
    whole = saved({"module.a": torch.arange(3.0)}, legacy=legacy)
    for length in range(0, len(whole), 1 if legacy else 7):
        assert "damaged or no checkpoint" in refusal(whole[:length], tmp_path)
    (tmp_path / "whole.pt").write_bytes(whole)
    assert torch.equal(read_released(tmp_path / "whole.pt")["a"], torch.arange(3.0))


def test_any_bytes_are_refused_with_one_error(tmp_path: Path) -> None:
    generator = random.Random(0)
    for _ in range(500):
        message = refusal(generator.randbytes(300), tmp_path)
        assert "damaged or no checkpoint" in message
        assert "torch.load" not in message  # PyTorch's advice is to load it all the same


@pytest.mark.parametrize("legacy", [False, True])
def test_what_would_run_code_is_not_read(
    legacy: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(saved({"weights": _Code()}, legacy=legacy), tmp_path)
    assert "would run code (print)" in message
    assert "never" not in capsys.readouterr().out


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    assert "expected names and tensors" in refusal(saved([torch.zeros(2)]), tmp_path)
    assert "under 'epoch'" in refusal(saved({"a": torch.zeros(2), "epoch": 3}), tmp_path)
    with pytest.raises(ModelError, match="there is no such file"):
        read_released(tmp_path / "absent.pt")
    with pytest.raises(ModelError, match=r"cannot be read \(Is a directory\)"):
        read_released(tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.a", "module.b"], ["a", "b"]),
        (["module.a", "a"], ["module.a", "a"]),
        (["_orig_mod.a", "_orig_mod.b"], ["a", "b"]),
        (["model.a", "model.b"], ["a", "b"]),
        (["module._orig_mod.a", "module._orig_mod.b"], ["a", "b"]),
        (["model.module.a.model.x", "model.module.b"], ["a.model.x", "b"]),
        (["unet.a", "unet.b"], ["a", "b"]),
        (["unet.a", "autoencoder.b"], ["unet.a", "autoencoder.b"]),
    ],
)
def test_a_prefix_is_taken_off_where_every_name_has_it(
    tmp_path: Path, names: list[str], expected: list[str]
) -> None:
    path = tmp_path / "found.pt"
    torch.save({"state_dict": {name: torch.zeros(1) for name in names}}, path)
    assert list(read_released(path)) == expected


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"unet_state_dict": weights},
        lambda weights: {"epoch": 3, "unet_state_dict": weights, "best": torch.zeros(1)},
        lambda weights: {
            "unet_state_dict": weights,
            "autoencoder_state_dict": {"x": torch.ones(1)},
        },
        lambda weights: {"unet_state_dict": weights, "optimizer": {"state": {}, "lr": 0.1}},
        lambda weights: {"state_dict": weights, "ema_state_dict": {"x": torch.ones(1)}},
        lambda weights: {"checkpoint": {"model": weights}},
        lambda weights: {"network": weights, "scaler": {"scale": 2.0}},
    ],
)
def test_the_weights_are_found_in_their_wrapping(
    tmp_path: Path, wrap: Callable[[object], object]
) -> None:
    torch.save(wrap({"a.weight": torch.arange(2.0)}), tmp_path / "found.pt")
    found = read_released(tmp_path / "found.pt", network="unet")
    assert list(found) == ["a.weight"]
    assert found["a.weight"].tolist() == [0, 1]


def test_of_several_networks_none_is_guessed(tmp_path: Path) -> None:
    several = {"encoder": {"a": torch.zeros(2)}, "decoder": {"b": torch.zeros(2)}}
    message = refusal(saved(several), tmp_path)
    assert message.startswith("it holds several networks (encoder, decoder), expected one.")
