"""What tells that a file of the source has changed, for the key of the prepared cases.

Size and times of a file tell, and cost nothing, where none of them has changed. A copy, an archive
or a backup may keep size and time for another content, and gives the same content another time; the
time of its inode, which nobody can set, is another one then, and the content decides. So data that
are copied to another disk for every job stay the same.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self

from vcmaug.config import JsonFile, Settings
from vcmaug.files import sha256_of_file

__all__ = ["SourceFiles", "Told"]

Told = tuple[int | str, ...]
"""Of a file: size, time and, where these alone would hide a change, the hash of its content."""


class _Known(Settings):
    """A file as it was when cases were prepared from it."""

    size: int
    time_ns: int
    inode_time_ns: int
    sha256: str
    told: Told


class SourceFiles(JsonFile):
    """The files that cases were prepared from, by name: WORK/stages/source.json."""

    files: Mapping[str, _Known] = {}

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return what a file says; nothing is known where it is not there."""
        return cls.read(path) if path.exists() else cls()

    def told(self, name: str, path: Path) -> Told:
        """Return what tells of a change of a file."""
        now, before = path.stat(), self.files.get(name)
        plain = now.st_size, now.st_mtime_ns
        if before is None or before.size != now.st_size:
            return plain
        if (before.time_ns, before.inode_time_ns) == (now.st_mtime_ns, now.st_ctime_ns):
            return before.told
        content = _sha256(path, now.st_ctime_ns)
        return before.told if content == before.sha256 else (*plain, content)

    def now(self, paths: Mapping[str, Path]) -> Self:
        """Return the same of files as they are now; each is read."""
        return type(self)(files={name: self._known(name, path) for name, path in paths.items()})

    def _known(self, name: str, path: Path) -> _Known:
        """Return a file as it is now."""
        found = path.stat()
        return _Known(
            size=found.st_size,
            time_ns=found.st_mtime_ns,
            inode_time_ns=found.st_ctime_ns,
            sha256=_sha256(path, found.st_ctime_ns),
            told=self.told(name, path),
        )


@cache
def _sha256(path: Path, inode_time_ns: int) -> str:
    """Return the hash of a file, which is read once as long as it does not change."""
    del inode_time_ns
    return sha256_of_file(path)
