"""One folder of hostile cases: every fault is listed at once, and nothing is written."""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

SHAPE = (8, 8, 8)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
NOISE = np.random.default_rng(0).random(SHAPE).astype(np.float32)
LABEL = np.zeros(SHAPE, dtype=np.uint8)
LABEL[2:6, 2:6, 2:6] = 1


def _save(path: Path, array: NDArray[np.generic], affine: NDArray[np.float64] = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(array, affine).to_filename(path)


def _moved(mm: float) -> NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[0, 3] = mm
    return affine


def _with(
    array: NDArray[np.generic], value: float, dtype: type = np.float32
) -> NDArray[np.generic]:
    changed = array.astype(dtype)
    changed[3, 3, 3] = value
    return changed


def _header(path: Path, start: int, content: bytes) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[start : start + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw)))


def _float(*numbers: float) -> bytes:
    return np.array(numbers, dtype="<f4").tobytes()


def _forms(path: Path, sform: int, qform: int, other: NDArray[np.float64] = AFFINE) -> None:
    image = nib.Nifti1Image(NOISE, AFFINE)
    image.set_sform(AFFINE, sform)
    image.set_qform(other, qform)
    image.to_filename(path)


def _swapped(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-90])


def _copy(path: Path) -> None:
    path.write_bytes(path.with_name("label-unknown.nii.gz").read_bytes())


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))


def _colours(path: Path) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    _save(path, np.zeros(SHAPE, dtype=kind))


def _corner(path: Path) -> None:
    array = np.zeros((30, 8, 8), dtype=np.float32)
    array[:4] = np.random.default_rng(0).random((4, 8, 8)) + 0.1
    _save(path, array)
    _save(path.parents[1] / "labels" / path.name, np.zeros((30, 8, 8), dtype=np.uint8))


def _speck(path: Path) -> None:
    fine = np.diag([0.4, 0.4, 0.4, 1.0])
    label = np.zeros((40, 40, 40), dtype=np.uint8)
    label[20, 20, 20] = 1
    _save(path, label, fine)
    noise = np.random.default_rng(0).random(label.shape).astype(np.float32)
    _save(path.parents[1] / "images" / path.name, noise, fine)


IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (_cut, "truncated or no NIfTI"),
    "a-bit-flipped": (_flip_a_bit, "truncated or no NIfTI"),
    "empty": (lambda p: p.write_bytes(b""), "truncated or no NIfTI"),
    "a-web-page": (lambda p: p.write_text("<!doctype html><title>Log in</title>"), "no NIfTI"),
    "git-lfs": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "no NIfTI"),
    "git-annex": (lambda p: _swapped(p, lambda q: q.symlink_to(".git/annex/x")), "no such file"),
    "a-circle": (lambda p: _swapped(p, lambda q: q.symlink_to(q)), "no such file"),
    "a-folder": (lambda p: _swapped(p, Path.mkdir), "no NIfTI"),
    "not-gzipped": (lambda p: p.write_bytes(gzip.decompress(p.read_bytes())), "no NIfTI"),
    "larger-than-it-is": (lambda p: _header(p, 42, b"\x00\x02"), "truncated or no NIfTI"),
    "constant": (lambda p: _save(p, NOISE * 0 + 7), "every voxel is 7"),
    "nearly-constant": (lambda p: _save(p, _with(NOISE * 0, 1)), "no contrast"),
    "nan": (lambda p: _save(p, _with(NOISE, np.nan)), "1 voxels are NaN or infinite"),
    "infinite": (lambda p: _save(p, _with(NOISE, np.inf)), "1 voxels are NaN or infinite"),
    "overflow": (lambda p: _save(p, _with(NOISE, 1e300, np.float64)), "NaN or infinite as float32"),
    "complex": (lambda p: _save(p, NOISE.astype(np.complex64)), "complex numbers"),
    "colours": (_colours, "colours (RGB)"),
    "a-series": (lambda p: _save(p, np.stack([NOISE, NOISE], axis=-1)), "4D of shape"),
    "a-slice": (lambda p: _save(p, NOISE[0]), "2D of shape"),
    "flat": (lambda p: _header(p, 280, _float(0, 0, 0)), "determinant zero"),
    "nowhere": (lambda p: _header(p, 292, _float(np.nan)), "determinant zero"),
    "sheared": (lambda p: _header(p, 296, _float(0, 2, 1.5)), "its affine is sheared"),
    "no-orientation": (lambda p: _forms(p, 0, 0), "knows no orientation"),
    "two-orientations": (lambda p: _forms(p, 1, 1, AFFINE * [[-1], [1], [1], [1]]), "its qform"),
    "in-metres": (lambda p: _header(p, 123, b"\x01"), "expected 0.0001 to 200 mm"),
    "beside-the-grid": (_corner, "every voxel is 0 on the grid"),
    "without-a-label": (lambda p: (p.parents[1] / "labels" / p.name).unlink(), "without a label"),
    "taken-twice": (_copy, "the same voxels as"),
}
"""What is done to the image of a case, and what must be said of it."""

LABELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "label-truncated": (_cut, "truncated or no NIfTI"),
    "label-shares": (lambda p: _save(p, LABEL * np.float32(0.99)), "not a label map"),
    "label-negative": (lambda p: _save(p, LABEL.astype(np.int16) * -1), "not a label map"),
    "label-too-large": (lambda p: _save(p, LABEL.astype(np.int32) * 70000), "not a label map"),
    "label-nan": (lambda p: _save(p, _with(LABEL, np.nan)), "NaN or infinite"),
    "label-unknown": (lambda p: _save(p, LABEL * 9), "label values [9] outside the scheme"),
    "label-other-shape": (lambda p: _save(p, LABEL[1:]), "not on the grid of"),
    "label-moved": (lambda p: _save(p, LABEL, _moved(5)), "not on the grid of"),
    "label-mirrored": (
        lambda p: _save(p, LABEL, AFFINE * [[-1], [1], [1], [1]]),
        "not on the grid",
    ),
    "label-lost": (_speck, "has no voxel left on the grid"),
    "label-alone": (lambda p: (p.parents[1] / "images" / p.name).unlink(), "without an image"),
}

NAMES = {
    os.fsdecode(b"k\xe9"): "it is not UTF-8",
    "p1\\s1": "it holds a path separator",
    "two\nlines": "it holds a control character",
    "n" * 210: "it has 210 bytes, the most are 200",
    "Twice": "the same but for capitals",
    "twice": "the same but for capitals",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder of hostile cases and two sound ones."""
    folder = tmp_path_factory.mktemp("hostile") / "source"
    for number, name in enumerate(("sound-1", "sound 2 (b)", *IMAGES, *LABELS, *NAMES)):
        _save(folder / "images" / f"{name}.nii.gz", NOISE + number)
        _save(folder / "labels" / f"{name}.nii.gz", LABEL)
    (folder / "images" / "._sound-1.nii.gz").write_bytes(b"left by a Mac")
    for kind, hostile in (("images", IMAGES), ("labels", LABELS)):
        for name, (make, _) in hostile.items():
            make(folder / kind / f"{name}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def said(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the command says of the folder, line by line; it leaves no trace."""
    out = tmp_path_factory.mktemp("prepared") / "out"
    before = {path: path.lstat().st_mtime_ns for path in hostile.parent.rglob("*")}
    words = ["prepare", str(hostile), "--out", str(out), "--structures", "a=1"]
    words += ["--grid", "8x8x8", "--spacing", "2x2x2"]
    command = [sys.executable, "-c", "from vcmaug.cli.main import main; main()", *words]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert not out.exists()
    assert {path: path.lstat().st_mtime_ns for path in hostile.parent.rglob("*")} == before
    return done.stderr.decode().splitlines()


def test_every_fault_is_listed_at_once_and_nothing_is_written(
    hostile: Path, said: list[str]
) -> None:
    faults = dict.fromkeys([*IMAGES, *LABELS, *NAMES])
    assert len(faults) >= 40
    assert said[0] == f"vcmaug cannot go on: preparing {hostile}: {len(faults) - 1} faults"
    assert said[-1] == "Nothing was written. Correct or remove these cases and run again."
    assert len(said) == len(faults) + 1  # Twice and twice have one
    whole = "\n".join(said)
    assert "sound" not in whole


@pytest.mark.parametrize("name", [*IMAGES, *LABELS])
def test_a_fault_names_case_and_file_and_says_what_it_is(
    hostile: Path, said: list[str], name: str
) -> None:
    (own,) = [line for line in said if f" case {name}, " in line]
    kinds = ("images", "labels")
    assert any(f" case {name}, {hostile / kind / name}.nii.gz: " in own for kind in kinds)
    assert {**IMAGES, **LABELS}[name][1] in own


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_can_have_is_said(said: list[str], name: str) -> None:
    (own,) = [line for line in said if " case id " in line and ascii(name)[1:-1] in line]
    assert NAMES[name] in own


def test_every_fault_says_what_was_expected_and_what_to_do(hostile: Path, said: list[str]) -> None:
    for line in said[1:-1]:
        assert re.fullmatch(r"  \d+\. .+, .+: .*expected .+[;.] .+", line), line
        assert str(hostile) in line
