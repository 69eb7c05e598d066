"""A user's segmenter as a function: a command over folders of files, or a TorchScript file."""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmaug.data.case import IMAGE, Case
from vcmaug.data.geometry import onto
from vcmaug.data.nifti import read_image, read_label_map, write_grey_values
from vcmaug.data.volume import Volume, other_grid
from vcmaug.data.way_back import WayBack
from vcmaug.errors import DataError, FaultyDataSet
from vcmaug.files import read_json, write_json
from vcmaug.provenance import fingerprint

__all__ = ["CaseReading", "by_command", "by_torchscript"]

CaseReading = Callable[[Sequence[Case]], list[NDArray[np.uint16]]]
"""From cases to what was found in each, label maps [X, Y, Z] on their own grids."""

_SAID = 5  # last lines of a command that failed


def by_command(
    command: str,
    folder: Path,
    *,
    suffix: str = "",
    native: Mapping[str, WayBack] | None = None,
    timeout_s: float | None = None,
) -> CaseReading:
    """Return a segmenter that is a command, such as `nnUNetv2_predict -i {images} -o {masks} ...`.

    Args:
        command: With {images} and {masks} for the two folders; it is run without a shell.
        folder: Gets images/ and masks/; those that the same command made of the same images are
            kept, all others are removed.
        suffix: After the case in the names of images, such as _0000 for nnU-Net.
        native: The way of each case to its native grid, where images are written in their own grey
            values; None: on the grid of the cases, from 0 to 1.
        timeout_s: After which it is stopped; None: never.

    Raises:
        DataError: The command lacks a folder.
    """
    missing = [name for name in ("{images}", "{masks}") if name not in command]
    if missing:
        raise DataError(
            f"running the segmenter {command!r}: found no {' and no '.join(missing)}, expected "
            "both, which stand for the folders of images and masks."
        )
    images, masks = folder / "images", folder / "masks"

    def shown(case: Case) -> Volume:
        volume = read_image(case.image, case_id=case.case_id)
        return volume if native is None else native[case.case_id].image(volume, name=IMAGE)

    def read(cases: Sequence[Case]) -> list[NDArray[np.uint16]]:
        wanted = {case.case_id: masks / f"{case.case_id}.nii.gz" for case in cases}
        asked = [command, suffix, native is None, *(case.hash_of(IMAGE) for case in cases)]
        told, note = fingerprint(asked), folder / "segmenter.json"
        is_same = note.exists() and read_json(note) == told
        if not (is_same and all(path.exists() for path in wanted.values())):
            note.unlink(missing_ok=True)
            for old in (images, masks):
                shutil.rmtree(old, ignore_errors=True)
            masks.mkdir(parents=True)
            for case in cases:
                write_grey_values(images / f"{case.case_id}{suffix}.nii.gz", shown(case))
            _run(command, images=images, masks=masks, timeout_s=timeout_s)
        found = _masks(cases, wanted, shown)
        write_json(note, told)  # masks that cannot be read are made again
        return found

    return read


def _run(command: str, *, images: Path, masks: Path, timeout_s: float | None) -> None:
    """Run a command; its output is shown where it fails.

    Raises:
        DataError: It is not there, fails, or takes too long.
    """
    words = [
        word.replace("{images}", str(images)).replace("{masks}", str(masks))
        for word in shlex.split(command)
    ]
    if shutil.which(words[0]) is None:
        raise DataError(f"running the segmenter: there is no command {words[0]!r}. Install it.")
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"running the segmenter {words[0]}: it took longer than {timeout_s:g} s."
        ) from None
    if ended.returncode != 0:
        said = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-_SAID:])
        raise DataError(
            f"running the segmenter {words[0]}: it ended with code {ended.returncode}:\n{said}"
        )


def _masks(
    cases: Sequence[Case], wanted: Mapping[str, Path], shown: Callable[[Case], Volume]
) -> list[NDArray[np.uint16]]:
    """Return what a command wrote, on the grids of the cases.

    Raises:
        FaultyDataSet: Masks are missing or not on the grid of their image; all at once.
    """
    found: list[NDArray[np.uint16]] = []
    faults: list[str] = []
    for case in cases:
        path = wanted[case.case_id]
        if not path.exists():
            faults.append(f"case {case.case_id}: there is no {path}")
            continue
        try:
            mask = read_label_map(path, case_id=case.case_id)
        except DataError as fault:
            faults.append(str(fault).rstrip("."))
            continue
        if differs := other_grid(mask, than=shown(case)):
            faults.append(f"case {case.case_id}, {path}: not on the grid of its image: {differs}")
            continue
        own = read_image(case.image, case_id=case.case_id)
        is_there = not other_grid(mask, than=own)
        found.append(mask.array if is_there else onto(mask, own, is_label=True).array)
    if faults:
        raise FaultyDataSet("reading the masks of the segmenter", faults)
    return found


def by_torchscript(file: Path) -> CaseReading:
    """Return a segmenter that is a TorchScript file.

    It is given an image in [0, 1], float32 [1, 1, X, Y, Z], and answers with logits
    [1, K + 1, X, Y, Z], whose largest says the label value.

    Raises:
        DataError: The file is none.
    """
    import torch

    try:
        network = torch.jit.load(str(file), map_location="cpu").eval()
    except (RuntimeError, ValueError) as fault:
        raise DataError(
            f"reading the segmenter {file}: it is no TorchScript file "
            f"({str(fault).splitlines()[0]})."
        ) from None

    def read(cases: Sequence[Case]) -> list[NDArray[np.uint16]]:
        found = []
        for case in cases:
            image = read_image(case.image, case_id=case.case_id).array
            with torch.no_grad():
                logits = network(torch.tensor(image, dtype=torch.float32)[None, None])
            if logits.shape[2:] != image.shape:
                raise DataError(
                    f"running the segmenter {file}: case {case.case_id} has {image.shape} voxels, "
                    f"its answer {tuple(logits.shape)}, expected [1, K + 1, X, Y, Z]."
                )
            found.append(logits[0].argmax(dim=0).numpy().astype(np.uint16))
        return found

    return read
