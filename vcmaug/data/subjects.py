"""Who is who: rows of tables by id, and cases of one person that would be taken for several.

Readers find the rows of their cases here; `prepare` asks whether a split by subject can be trusted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from unicodedata import normalize

from vcmaug.data.case import Case, Cell
from vcmaug.data.text_table import read_rows, text_of
from vcmaug.data.volume import Volume
from vcmaug.files import sha256_of_bytes

__all__ = ["copy_faults", "people_faults", "rows_of", "unnamed_subjects"]

_PERSON = re.compile(r"(subject|patient|participant|person)([ _-]?(id|no|nr))?|pid", re.IGNORECASE)


def unnamed_subjects(said: Mapping[str, str]) -> list[str]:
    """Return, by the place of each case, that it names no subject where others do."""
    if not any(said.values()):
        return []
    return [
        f"{place}: no subject_id, and other cases have one, expected all or none; fill it in"
        for place, subject_id in said.items()
        if not subject_id
    ]


def people_faults(cases: Iterable[Case]) -> list[str]:
    """Return where cases of one person would be taken for those of several.

    Their splits could then put one person into training and test.
    """
    known = list(cases)
    owners: dict[Path, set[str]] = {}
    for case in known:
        owners.setdefault(case.image, set()).add(case.subject_id)
    faults = [
        f"{image}: the image of the subjects {', '.join(sorted(people))}, expected one; correct "
        "subject_id"
        for image, people in owners.items()
        if len(people) > 1
    ]
    alike: dict[str, set[str]] = {}
    for case in known:
        alike.setdefault(_short(case.subject_id), set()).add(case.subject_id)
    faults += [
        f"subjects {', '.join(sorted(names))}: they differ in `sub-` or leading zeros alone, "
        "expected one way to write one person; use the same id in all their cases"
        for names in alike.values()
        if len({normalize("NFC", name).casefold() for name in names}) > 1
    ]
    columns = dict.fromkeys(name for case in known for name in case.source)
    for name in filter(_PERSON.fullmatch, columns):
        told = [text_of(case.source.get(name)) for case in known]
        repeats = len({*told} - {""}) < len([one for one in told if one])
        if repeats and all(case.subject_id == case.case_id for case in known):
            faults.append(
                f"column {name!r} names a person twice, expected the column subject_id or "
                "`subject` of the reader to say so; else each case is taken for a person of its own"
            )
    return faults


def copy_faults(image: Volume, case: Case, known: dict[str, Case]) -> list[str]:
    """Return that another subject has an image of the same voxels, if one has.

    Further images may be shared, such as a mask in which nothing is.

    Args:
        image: The first of the case, as it was read.
        case: Whose it is.
        known: Hash of voxels -> the first case that has them; gets this one.
    """
    voxels = sha256_of_bytes(str(image.shape).encode() + image.array.tobytes())
    first = known.setdefault(voxels, case)
    if first.subject_id == case.subject_id:
        return []
    return [
        f"case {case.case_id}, {case.image}: the same voxels as {first.image} (case "
        f"{first.case_id}), found for the subjects {first.subject_id} and {case.subject_id}, "
        "expected one; give both cases one subject_id, or remove the copy"
    ]


def rows_by_key(path: Path, key: str, faults: list[str]) -> dict[str, dict[str, Cell]]:
    """Return the rows of a table by the text in its key column."""
    rows: dict[str, dict[str, Cell]] = {}
    found = read_rows(path, needs=[key], knows=["subject_id"], faults=faults)
    faults += unnamed_subjects({row.place: row.cells.get("subject_id", "") for row in found})
    for row in found:
        cells: dict[str, Cell] = {name: cell for name, cell in row.cells.items() if name != key}
        value = row.cells[key]
        if not value:
            faults.append(f"{row.place}: no {key}, expected an id; fill it in or delete the line")
        if value in rows:
            faults.append(
                f"case {value}, {row.place}: the id stands twice in the table, expected once; "
                "delete one of the lines"
            )
        rows.setdefault(value, cells)
    return rows


def rows_of(
    ids: Iterable[str], path: Path, key: str, faults: list[str], *, what: str
) -> dict[str, dict[str, Cell]]:
    """Return the row of each id in a table.

    Ids that differ in `sub-`, capitals or leading zeros alone are the same, where just one id and
    one row could be meant.

    Args:
        ids: To look for.
        path: Of the table.
        key: Its column of ids.
        faults: Gets a sentence for a bad table, and one for each id without a row.
        what: The ids are of, such as case.
    """
    so_far = len(faults)
    rows, wanted = rows_by_key(path, key, faults), list(dict.fromkeys(ids))
    is_read = bool(rows) or len(faults) == so_far
    alike = {_short(name): name for name in rows}
    counts = Counter(map(_short, rows)), Counter(map(_short, wanted))
    found = {}
    for name in wanted:
        short = _short(name)
        if name in rows:
            found[name] = rows[name]
        elif all(count[short] == 1 for count in counts):
            found[name] = rows[alike[short]]
        elif is_read:
            like = f", whose ids are such as {', '.join([*rows][:2])}" if rows else ""
            faults.append(
                f"{what} {name}: not in {path}{like}, expected a row; add one, n/a where "
                "nothing is known"
            )
    return found


def _short(name: str) -> str:
    """Return an id without what people write or leave out."""
    plain = normalize("NFC", name).casefold().removeprefix("sub-")
    if re.fullmatch(r"\d+\.0", plain):  # as pandas writes whole numbers beside empty cells
        plain = plain.removesuffix(".0")
    return plain.lstrip("0") or "0"
