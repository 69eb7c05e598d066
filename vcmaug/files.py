"""Files that are complete or absent: atomic writes, hashes, JSON, and locks.

Every file that must survive a crash is written through here. The module knows nothing of volumes or
networks.

References:
    POSIX rename(2) and fsync(2); flock(2), whose locks end with the process that holds them.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pydantic import JsonValue

from vcmaug.errors import WorkFolderError

__all__ = [
    "Inside",
    "advice_on",
    "append_lines",
    "atomic_path",
    "locked",
    "locked_file",
    "read_json",
    "read_json_lines",
    "sha256_of_bytes",
    "sha256_of_file",
    "stable_json",
    "write_bytes",
    "write_json",
    "write_text",
]


class _Layout(Protocol):
    """What knows the paths of a folder."""

    @property
    def folder(self) -> Path:
        """The folder."""
        ...


class Inside:
    """A path in a folder, declared once in the class that knows the layout of the folder.

    Args:
        *names: Of the folders on the way, and of the file.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def __get__(self, layout: _Layout, _: type | None = None) -> Path:
        return layout.folder.joinpath(*self.names)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which takes the file's name when all went well.

    Args:
        path: Where the file appears; its folder is made if it is not there.

    Raises:
        WorkFolderError: The disk is full or the folder cannot be written; no part of the file
            is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as fault:
        raise WorkFolderError(
            f"writing {path}: {fault.strerror or fault}. Nothing was left half-written; "
            f"{advice_on(fault)}, then run the same command again."
        ) from fault
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "free some space",  # of a quota that is set as a limit on files
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "move the file away that stands where a folder is to be",
    errno.ENOTDIR: "move the file away that stands where a folder is to be",
    errno.EISDIR: "name a file, not a folder",
    errno.EACCES: "allow writing there",
    errno.EPERM: "allow writing there",
    errno.EROFS: "choose a place that can be written",
}


def advice_on(fault: OSError) -> str:
    """Return what to do about a file that could not be written."""
    return _ADVICE.get(fault.errno or 0, "look at the disk and the path")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a temporary name in the same folder, fsync, rename.

    Raises:
        WorkFolderError: As for `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically; see `write_bytes`.

    Raises:
        WorkFolderError: As for `atomic_path`, or the text holds a file name that is not UTF-8.
    """
    try:
        write_bytes(path, content.encode("utf-8"))
    except UnicodeEncodeError as fault:
        near = ascii(content[max(0, fault.start - 40) : fault.end])
        raise WorkFolderError(
            f"writing {path}: a name in it is not UTF-8, {near}. Rename that file or folder."
        ) from None


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented, with a final newline; see `write_bytes`."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        WorkFolderError: The file is missing, is no JSON, or has a key twice in one object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_each_key_once)
    except FileNotFoundError:
        raise WorkFolderError(f"reading {path}: there is no such file.") from None
    except ValueError as fault:
        raise WorkFolderError(f"reading {path}: not valid JSON ({fault}).") from fault


def _each_key_once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Return an object of JSON, of whose keys Python alone would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(name, count)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r} stands {count} times, expected once")
    return found


def stable_json(content: Any) -> str:
    """Return JSON with sorted keys and no spaces, the same for equal content.

    Examples:
        >>> stable_json({"b": 1, "a": [1.5, None]})
        '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def append_lines(path: Path, rows: Iterable[Mapping[str, JsonValue]]) -> None:
    """Append rows as JSON lines and fsync; a crash can cut the last line only.

    Raises:
        WorkFolderError: The disk is full or the file cannot be written.
    """
    text = "".join(stable_json(row) + "\n" for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_cut_line(path)
        with path.open("ab") as stream:
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as fault:
        raise WorkFolderError(
            f"adding rows to {path}: {fault.strerror or fault}. What was written before is kept; "
            f"{advice_on(fault)}, then run the same command again."
        ) from fault


def _drop_cut_line(path: Path) -> None:
    """Cut a last line that has no newline: what a killed writer leaves."""
    if not path.exists() or path.stat().st_size == 0:
        return
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])


def read_json_lines(path: Path) -> list[dict[str, JsonValue]]:
    """Return the rows of a JSON-lines file; lines that were cut or damaged are left out."""
    rows = []
    if path.exists():
        for line in path.read_bytes().split(b"\n")[:-1]:  # after the last newline: a cut line
            with suppress(UnicodeDecodeError, json.JSONDecodeError):
                rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


def sha256_of_bytes(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def locked(
    folder: Path, *, purpose: str, name: str = ".lock", together: bool = False
) -> Iterator[None]:
    """Hold a folder for one process; the lock ends with the process, also when it is killed.

    Args:
        folder: Held through a file in it.
        purpose: Said to whoever is refused.
        name: Of that file; several names are as many locks.
        together: Processes that torchrun started do it together; the first holds it for all.

    Raises:
        WorkFolderError: Another process holds the folder, or it cannot be written.
    """
    if together and os.environ.get("RANK", "0") != "0":
        yield
        return
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stream = stack.enter_context((folder / name).open("a+", encoding="utf-8"))
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(stream.fileno()).st_nlink == 0:  # its holder removed it in between
                raise BlockingIOError
            stream.seek(0)
            stream.truncate()
            stream.write(f"process {os.getpid()} ({purpose})")
            stream.flush()
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise WorkFolderError(
                f"{purpose} in {folder}: the folder is in use by {holder}. Wait until that run has "
                "ended."
            ) from None
        except OSError as fault:
            raise WorkFolderError(
                f"{purpose} in {folder}: it cannot be locked ({fault.strerror or fault}). It must "
                f"be a folder on a file system with locks: {advice_on(fault)}."
            ) from fault
        yield


@contextmanager
def locked_file(path: Path, *, purpose: str) -> Iterator[None]:
    """Hold a file that is written, through one beside it that is removed afterwards; see `locked`.

    Args:
        path: Of the file.
        purpose: Said to whoever is refused.
    """
    name = f".{path.name}.lock"
    with locked(path.parent, purpose=purpose, name=name):
        try:
            yield
        finally:
            path.with_name(name).unlink(missing_ok=True)
