"""Adherence per case and structure: what an independent evaluator finds against what was asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vcmaug.quality.volumes import Measured, Reads, Volumes

__all__ = ["adherence_of", "adherence_rows", "means_of"]


def adherence_of(
    case_ids: Sequence[str],
    *,
    images: NDArray[np.float32],
    asked: NDArray[np.uint16],
    evaluator: Reads,
    source: str,
) -> list[dict[str, Any]]:
    """Return one row per case and structure: case_id, source, structure, dice.

    Args:
        case_ids: N names.
        images: [N, X, Y, Z] in [0, 1].
        asked: Label maps [N, X, Y, Z].
        evaluator: Trained on other subjects.
        source: "synthetic" or "real".
    """
    found = evaluator.adherence(images, asked)
    return [
        {"case_id": case_id, "source": source, "structure": structure, "dice": dice}
        for case_id, of_case in zip(case_ids, found, strict=True)
        for structure, dice in of_case.items()
    ]


def adherence_rows(ground: Measured) -> pd.DataFrame:
    """Return the rows of drawn and held-out images; none without an evaluator."""
    rows: list[dict[str, Any]] = []
    if ground.evaluator is not None:
        rows += _of(ground.drawn, ground.evaluator, source="synthetic")
        rows += _of(ground.held_out, ground.evaluator, source="real")
    return pd.DataFrame(rows, columns=["case_id", "source", "structure", "dice"])


def _of(volumes: Volumes, evaluator: Reads, *, source: str) -> list[dict[str, Any]]:
    """Return the rows of some volumes; none where there are none."""
    if not volumes.names:
        return []
    return adherence_of(
        volumes.names,
        images=volumes.images,
        asked=volumes.maps,
        evaluator=evaluator,
        source=source,
    )


def means_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return mean adherence per source and structure, and over structures."""
    if table.empty:
        return []
    each = table.groupby(["source", "structure"], sort=False)["dice"].mean().reset_index()
    whole = table.groupby("source", sort=False)["dice"].mean().reset_index()
    rows = pd.concat([each, whole.assign(structure="mean")])
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]
