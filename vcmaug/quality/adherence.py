"""Adherence: does an independent reader find in an image the label map that was asked for.

What it is: Dice per case and structure between what is read and what was asked.
In the flow: the reader is passed in as a plain function, so this room knows no study.
Sources: Dice 1945; MONAI's `compute_dice`.

Notes:
    A structure that is neither asked nor found counts 1; asked and not found, or found and not
    asked, 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice
from numpy.typing import NDArray

from vcmaug.data.labels import LabelScheme, one_hot

__all__ = ["Read", "adherence_rows"]

Read = Callable[[NDArray[np.float32]], NDArray[np.uint16]]
"""Images [N, X, Y, Z] -> label maps [N, X, Y, Z]."""


def adherence_rows(
    case_ids: Sequence[str],
    *,
    images: NDArray[np.float32],
    asked: NDArray[np.uint16],
    reader: Read,
    scheme: LabelScheme,
    source: str,
) -> list[dict[str, Any]]:
    """Return one row per case and structure: case_id, source, structure, dice.

    Args:
        case_ids: N names.
        images: [N, X, Y, Z] in [0, 1].
        asked: Label maps [N, X, Y, Z].
        reader: Trained on other subjects.
        scheme: Meaning of the label maps.
        source: "synthetic" or "real".
    """
    found = reader(images)
    rows = []
    for case_id, first, second in zip(case_ids, found, asked, strict=True):
        dice = compute_dice(
            torch.from_numpy(one_hot(first, scheme))[None],  # [1, K, X, Y, Z]
            torch.from_numpy(one_hot(second, scheme))[None],
            include_background=True,
            ignore_empty=False,
        )[0]
        rows += [
            {"case_id": case_id, "source": source, "structure": name, "dice": float(value)}
            for name, value in zip(scheme.names, dice, strict=True)
        ]
    return rows
