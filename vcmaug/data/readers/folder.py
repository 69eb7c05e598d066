"""A plain folder of images and label maps, named by two patterns.

What it is: `images/{case}.nii.gz` and `labels/{case}.nii.gz`, or whatever the patterns say.
In the flow: one of the five readers.
Sources: none.
"""

from pathlib import Path

from vcmaug.data.readers.raw import RawCase, SourceSettings, case_pattern, rows_by_key

__all__ = ["read"]


def read(root: Path, settings: SourceSettings, faults: list[str]) -> list[RawCase]:
    """Return the cases of a folder, in order of their ids.

    Args:
        root: The folder.
        settings: Patterns, optional table, subject pattern.
        faults: Gets a sentence for a label map without an image and for a bad table.
    """
    images = _by_case(root, settings.images)
    labels = _by_case(root, settings.labels)
    faults += [
        f"case {case_id}, {labels[case_id]}: a label map without an image"
        for case_id in sorted(set(labels) - set(images))
    ]
    rows = {}
    if settings.table is not None:
        rows = rows_by_key(root / settings.table, settings.table_key, faults)
        faults += [
            f"case {case_id}: not in {root / settings.table}"
            for case_id in sorted(set(images) - set(rows))
            if rows
        ]
    return [
        RawCase(
            case_id=case_id,
            subject_id=str(rows.get(case_id, {}).get("subject_id", settings.subject_of(case_id))),
            image=path,
            label=labels.get(case_id),
            row=rows.get(case_id, {}),
        )
        for case_id, path in sorted(images.items())
    ]


def _by_case(root: Path, pattern: str) -> dict[str, Path]:
    """Return the files that fit a pattern, by the case in their name."""
    glob, expression = case_pattern(pattern)
    found = {}
    for path in root.glob(glob):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match and not path.name.startswith("."):
            found[match.group("case")] = path
    return found
