"""A CSV or TSV with one row per case: case_id, image, and optionally label and the rest.

What it is: the reader for whoever keeps a table.
In the flow: one of the five readers.
Sources: none.
"""

from pathlib import Path
from typing import Any

from vcmaug.data.readers.raw import RawCase, SourceSettings, read_table

__all__ = ["read"]

_OWN = {"case_id", "subject_id", "image", "label"}


def read(path: Path, settings: SourceSettings, faults: list[str]) -> list[RawCase]:
    """Return the cases of a table, in its order; relative paths start at the table's folder.

    Args:
        path: `.csv` or `.tsv`.
        settings: The subject pattern serves where there is no column subject_id.
        faults: Gets a sentence for a missing column or an empty cell.
    """
    table = read_table(path)
    missing = [name for name in ("case_id", "image") if name not in table]
    if missing:
        faults += [f"{path}: no column {name!r}" for name in missing]
        return []
    cases = []
    for line, record in enumerate(table.to_dict("records"), start=2):
        row = {str(name): value for name, value in record.items()}
        if not _text(row.get("case_id")) or not _text(row.get("image")):
            faults.append(f"{path}, line {line}: no case_id or no image")
            continue
        cases.append(_case(row, path.parent, settings))
    return cases


def _case(row: dict[str, Any], folder: Path, settings: SourceSettings) -> RawCase:
    """Return one row as a raw case."""
    case_id = _text(row["case_id"])
    label = _text(row.get("label"))
    extra = {
        name.removeprefix("image_"): folder / _text(value)
        for name, value in row.items()
        if name.startswith("image_") and _text(value)
    }
    rest = {k: v for k, v in row.items() if k not in _OWN and not k.startswith("image_")}
    return RawCase(
        case_id=case_id,
        subject_id=_text(row.get("subject_id")) or settings.subject_of(case_id),
        image=folder / _text(row["image"]),
        label=folder / label if label else None,
        extra_images=extra,
        row=rest,
    )


def _text(value: Any) -> str:
    """Return a cell as text, empty if it is missing."""
    return value.strip() if isinstance(value, str) else ""
