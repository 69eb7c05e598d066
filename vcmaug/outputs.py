"""Where may be written: names that files can have, and outputs apart from what is read.

Every verb that writes asks here before anything is read.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from vcmaug.errors import WorkFolderError
from vcmaug.files import advice_on

__all__ = ["faults_of_names", "refuse_overlap"]

_LONGEST_NAME = 200  # of the 255 bytes of file systems; endings and temporary names are added


def faults_of_names(what: str, places: Mapping[str, Path]) -> list[str]:
    """Return, one sentence each, which names cannot name files, alone or beside each other.

    Args:
        what: The names are, such as "case id".
        places: Of each name, where it stands.

    Examples:
        >>> faults_of_names("id", {"sub-01 (T1)": Path("a.csv"), "p1/s1": Path("a.csv")})
        ["id 'p1/s1', a.csv: it holds a path separator, expected the name of a file; rename it"]
    """
    alike = defaultdict[str, list[str]](list)
    for name in sorted(places):
        alike[unicodedata.normalize("NFC", name).lower()].append(name)
    faults = [
        f"{what} {name!r}, {_printable(place)}: {why}, expected the name of a file; rename it"
        for name, place in sorted(places.items())
        if (why := _fault_of_name(name))
    ]
    return faults + [
        f"{what} {' and '.join(map(repr, some))}, {places[some[0]]}: the same but for capitals, "
        "expected names of different files; rename one"
        for some in alike.values()
        if len(some) > 1
    ]


def _printable(path: Path) -> str:
    """Return a path on one line; what cannot be printed is written as in Python."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(path))


def _fault_of_name(name: str) -> str:
    """Return why a name cannot be that of a file, or nothing if it can."""
    size = len(name.encode("utf-8", errors="surrogatepass"))
    kinds = {unicodedata.category(one) for one in name}
    faults = {
        "it is empty": not name.strip(),
        "it is not UTF-8": "Cs" in kinds,  # of bytes that cannot be decoded
        "it holds a path separator": not {"/", "\\"}.isdisjoint(name),
        "it begins with a dot": name.startswith("."),
        "it holds a control character": "Cc" in kinds,
        f"it has {size} bytes, the most are {_LONGEST_NAME}": size > _LONGEST_NAME,
    }
    return next((why for why, holds in faults.items() if holds), "")


def refuse_overlap(doing: str, *, writes: Iterable[Path], reads: Iterable[Path]) -> None:
    """Refuse to write where something is read from; links are followed.

    Args:
        doing: Said first to whoever is refused.
        writes: Files and folders that would be written; they need not exist.
        reads: Files and folders that are read.

    Raises:
        WorkFolderError: One that would be written is one that is read, lies in it, or holds it, or
            it cannot be written there.
    """
    sources, above = dict[Hashable, Path](), dict[Hashable, Path]()
    for path in reads:
        own, *folders = _identities(path)
        sources[own] = path
        above |= dict.fromkeys(folders, path)
    for path in writes:
        _refuse_unusable(doing, path)
        own, *folders = _identities(path)
        places = [("is", sources.get(own)), ("holds", above.get(own))]
        places += [("lies in", sources.get(folder)) for folder in folders]
        for relation, source in places:
            if source is not None:
                raise WorkFolderError(
                    f"{doing}: the output {path} {relation} {source}, which is read. Nothing was "
                    "written; choose an output that is not the source, in it, or around it."
                )


def _refuse_unusable(doing: str, path: Path) -> None:
    """Refuse a path at which nothing can be, as one with too long a name or below a file."""
    try:
        path.stat()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise WorkFolderError(
            f"{doing}: the output {path}: {fault.strerror}. Nothing was written; "
            f"{advice_on(fault)}."
        ) from None


def _identities(path: Path) -> list[Hashable]:
    """Return what a path and each folder above it are, by whatever name they go."""
    with suppress(ValueError):  # a NUL in it, which no file has
        path = Path(os.path.realpath(path))
    return [_identity(one) for one in (path, *path.parents)]


def _identity(path: Path) -> Hashable:
    """Return device and number of what is there, else the path."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return path
    return found.st_dev, found.st_ino
