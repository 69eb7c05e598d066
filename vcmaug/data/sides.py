"""Left and right in the names of structures: which one a mirror puts in the other's place.

All that mirrors cases, conditions or scalars asks here. What shows no side keeps its label: it must
lie on both sides or across the middle. Names that cannot be told apart so are refused.

Notes:
    A name shows its side, strongest first, by the word left or right, also glued to others
    (LeftKidney, kidneyLeft) or in Chinese; by lh, rh, lt or rt; by l or r between separators
    (Hippocampus_L, Heschl_L_1); by l or r set off by its case (KidneyL, lCaudate); and by l or r
    before the short name of an organ (lkid). Where a stronger sign stands, weaker ones are parts of
    the name: Left-L-Sg is a nucleus on the left. The spellings that are known stand with their
    sources in tests/data/sides.csv.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from vcmaug.errors import DataError, list_faults

__all__ = ["other_side", "refuse_unknown_sides", "side_faults", "sides_exchanged"]

V = TypeVar("V")

_ORGANS = (
    "k|ki|kid|kidney|ad|adr|adrenal|ag|lung|eye|hip|femur|parotid|cochlea|breast|ureter|hippocampus"
)
_SIGNS = tuple(
    re.compile(sign)
    for sign in (
        r"(?i:(?<![a-z])(?:left|right)|(?<=[a-z]{3})(?:left|right)(?![a-z]))"
        r"|(?<=[A-Za-z0-9])(?:Left|Right)(?![a-z])|[左右]",
        r"(?i:(?<![a-z])(?:[lr]h|[lr]t)(?![a-z]))|(?<![A-Za-z])[lr]h(?=[A-Z])",
        r"(?i:(?<![a-z0-9])[lr](?![a-z0-9]))",
        r"(?<![A-Za-z0-9])(?:[lr](?=[A-Z])|[LR](?=[A-Z][a-z]))"
        r"|(?:(?<=[a-z])|(?<=Eye_[AP]))[LR](?![A-Za-z0-9])",
        rf"(?i:(?<![a-z0-9])[lr](?=(?:{_ORGANS})(?![a-z])))",
    )
)
_OTHER = {"left": "right", "lh": "rh", "lt": "rt", "l": "r", "左": "右"}
_OTHER |= {right: left for left, right in _OTHER.items()}
_PERHAPS = re.compile(r"(?=(left|lh|lt|l))")  # anywhere in a name without a known side
_ABROAD = (  # left/right of other languages: they are refused, and are not guessed to be pairs
    *("gauche/droit/droite", "g/d", "links/rechts"),
    *("sinister/dexter", "sinistra/dextra/destra", "sinistro/destro", "sin/dex/dext", "sx/dx"),
    *("izquierdo/derecho", "izquierda/derecha", "izq/der", "esquerdo/direito", "esquerda/direita"),
)
_RIGHTS = {left: rights for left, *rights in (words.split("/") for words in _ABROAD)}
_WORD = re.compile(r"[a-z]+")


def other_side(name: str) -> str:
    """Return the name of the same structure on the other side; the name itself if it has no side.

    Examples:
        >>> other_side("left_hippocampus"), other_side("Kidney (R)"), other_side("bright_core")
        ('right_hippocampus', 'Kidney (L)', 'bright_core')
    """
    sign = next((sign for sign in _SIGNS if sign.search(name)), None)
    if sign is None:
        return name
    return sign.sub(lambda found: _with_case_of(found[0], _OTHER[found[0].lower()]), name)


def _with_case_of(old: str, new: str) -> str:
    """Return a word in capitals or with a first capital if another is so."""
    if old.istitle():
        return new.title()
    return new.upper() if old.isupper() else new


def side_faults(names: Sequence[str]) -> list[str]:
    """Return a fault for every structure of which a mirror could not tell what becomes of it.

    Its other side is not among the names, or two names differ by l and r alone and are no pair that
    is known.

    Examples:
        >>> side_faults(("left_hippocampus", "csf"))
        ["'left_hippocampus' has no 'right_hippocampus' to change places with"]
        >>> side_faults(("LV", "RV", "myocardium"))
        ["'LV' and 'RV' differ by their side alone, and are no pair of names that is known"]
    """
    lone = [
        f"{name!r} has no {other_side(name)!r} to change places with"
        for name in names
        if other_side(name) not in names
    ]
    bare = {name.lower(): name for name in names if other_side(name) == name}
    return lone + [
        f"{name!r} and {bare[other]!r} differ by their side alone, and are no pair of names that "
        "is known"
        for small, name in bare.items()
        for other in _perhaps_other(small)
        if other in bare
    ]


def _perhaps_other(small: str) -> list[str]:
    """Return the names, in small letters, that differ from one by a sign of the left, each once."""
    signs = [(found.start(1), found[1], [_OTHER[found[1]]]) for found in _PERHAPS.finditer(small)]
    words = [(word.start(), word[0], _RIGHTS.get(word[0], [])) for word in _WORD.finditer(small)]
    return list(
        dict.fromkeys(
            small[:start] + other + small[start + len(sign) :]
            for start, sign, others in signs + words
            for other in others
        )
    )


def refuse_unknown_sides(names: Iterable[str], *, doing: str) -> None:
    """Refuse to mirror what has names whose sides cannot be told.

    Args:
        names: Of all structures of a scheme, or of columns; each counts once.
        doing: What is mirrored, for the message.

    Raises:
        DataError: Names all of which it cannot be told what a mirror makes of them.
    """
    if faults := side_faults(tuple(dict.fromkeys(names))):
        advice = "Switch flips off, or name both sides as in left_kidney and right_kidney."
        raise DataError(list_faults(doing, faults, advice=advice))


def sides_exchanged(row: Mapping[str, V]) -> dict[str, V]:
    """Return what a mirrored case has in its columns: that of the left on the right, and reversed.

    Raises:
        DataError: Of a column it cannot be told which is that of the other side.

    Examples:
        >>> sides_exchanged({"age": 40, "left_eye": 1, "right_eye": 2})
        {'age': 40, 'left_eye': 2, 'right_eye': 1}
    """
    refuse_unknown_sides(row, doing="mirroring the columns of a case")
    return {name: row[other_side(name)] for name in row}
