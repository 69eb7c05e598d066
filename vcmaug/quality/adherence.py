"""Adherence per case and structure: what an independent evaluator finds against what was asked."""

from typing import Any

import pandas as pd

from vcmaug.quality.volumes import Reads, Volumes

__all__ = ["adherence_rows", "means_of"]


def adherence_rows(volumes: Volumes, evaluator: Reads, *, source: str) -> list[dict[str, Any]]:
    """Return one row per case and structure: case_id, source, structure, dice.

    Args:
        volumes: Images, and the label maps that were asked for.
        evaluator: Trained on other subjects.
        source: "synthetic" or "real".
    """
    if not volumes.names:
        return []
    found = evaluator.adherence(volumes.images, volumes.maps)
    return [
        {"case_id": case_id, "source": source, "structure": structure, "dice": dice}
        for case_id, of_case in zip(volumes.names, found, strict=True)
        for structure, dice in of_case.items()
    ]


def means_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return mean adherence per source and structure, and over structures."""
    if table.empty:
        return []
    each = table.groupby(["source", "structure"], sort=False)["dice"].mean().reset_index()
    whole = table.groupby("source", sort=False)["dice"].mean().reset_index()
    rows = pd.concat([each, whole.assign(structure="mean")])
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]
